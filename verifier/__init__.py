"""From a `Program` to `Verified` or `Rejected`, as Linux 7.3 would judge it."""

from verifier.assume import assume
from verifier.verify import verify

__all__ = ["assume", "verify"]
