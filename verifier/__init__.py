"""From a `Program` to `Verified` or `Rejected`, as Linux 7.3 would judge it."""

from verifier.verify import FIRST_LAYER_NOTE, assume, verify

__all__ = ["FIRST_LAYER_NOTE", "assume", "verify"]
