"""Ends of a run that say how far we go, not how far the program may: no oracle may take them for a fault."""

import re
from typing import Final

from emu.outcome import Trap

_KINDS: Final = ("budget", "internal")
_UNKNOWN: Final = ("is not implemented", "is not known")  # helpers and kfuncs without behaviour
# A kernel refuses runs with a shorter context than the program accesses; accesses at variable offsets and by helpers
# are not counted here (docs/runtime.md).
_CONTEXT: Final = re.compile(r": (read|write) of \d+ bytes at 0x[0-9a-f]+: runs \d+ bytes past context\b")


def is_limit(trap: Trap) -> bool:
    """Whether a trap is a limit of the runtime, or of the time that a run may take."""
    if trap.kind == "call":
        return trap.message.endswith(_UNKNOWN)
    return trap.kind in _KINDS or (trap.kind == "access" and _CONTEXT.search(trap.message) is not None)
