"""The sandbox: native code in Unicorn, with a kernel's stack, stubs for what it calls, and checks on how it behaves.

The one folder that knows Unicorn. One line a file: addresses (where everything lies), native (Unicorn's C
interface), entry and stubs (the little native code of ours), machine (one reusable processor with its memory),
watchdog (ends endless code), forbidden (instructions that succeed silently), images (compiled programs at
addresses), callees (what is behind a symbol), calls (what stubs ask), checks (broken conventions), traps (why a run ended), sandbox (the engine).
"""

from emu.sandbox.machine import Machine
from emu.sandbox.sandbox import Sandbox

__all__ = ["Machine", "Sandbox"]
