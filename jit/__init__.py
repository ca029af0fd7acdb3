"""From a `Verified` program to an `Image` of x86-64 code, as Linux 7.3 would emit it."""
