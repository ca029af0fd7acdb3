"""What all tests share."""

from hypothesis import settings

# A machine that stands still for a moment makes no test fail.
settings.register_profile("bpfemu", deadline=None)
settings.load_profile("bpfemu")
