"""From a `Program` to `Verified` or `Rejected`, as Linux 7.3 would judge it."""

from verifier.verify import assume, verify

__all__ = ["assume", "verify"]
