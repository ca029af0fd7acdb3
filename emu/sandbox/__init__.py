"""The sandbox: native code in Unicorn, with a kernel's stack, stubs for what it calls, and checks on how it behaves.

The one folder that knows Unicorn. One line a file: addresses (where everything lies), native (Unicorn's C
interface), entry, stubs and gates (the little native code of ours), objects (memory that guest and helpers share), machine
(one reusable processor with its memory), watchdog (ends endless code), forbidden (instructions that succeed silently),
images (compiled programs at addresses), callees (what is behind a symbol), calls (what stubs ask), script and confirm (runs
whose answers are known beforehand), entries (calls of BPF functions), frames (on the native stack), checks (broken
conventions), precise, activation and uses (every instruction looked at), hooked and framewatch (each one compared with the
JIT's frames), redzone (accesses below rsp), exceptions (bpf_throw), traps (why a run ended), debug (a machine that
somebody holds), sandbox (the engine).
"""

from emu.sandbox.checks import Checks
from emu.sandbox.machine import Machine
from emu.sandbox.sandbox import Sandbox

__all__ = ["Checks", "Machine", "Sandbox"]
