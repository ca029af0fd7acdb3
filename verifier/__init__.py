"""From a `Program` to `Verified` or `Rejected`, as Linux 7.3 would judge it."""
