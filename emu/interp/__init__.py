"""The reference interpreter: what BPF instructions mean, one by one, on a program as it was given.

| module | what |
|---|---|
| engine.py | the hot loop, and runs from their input to their result |
| decode.py, ops.py | programs, instructions to ops |
| alu.py | arithmetic and conditions, as tables |
| calls.py, atomics.py, special.py | the ops that the hot loop hands on |
| state.py, layout.py | frames, stacks, addresses |
| records.py, undefined.py | calls made, and traps on undefined registers, put into words |

It knows neither verifier nor JIT nor sandbox: comparing it with them is worth something only because of that.
"""

from emu.interp.engine import Interpreter

__all__ = ["Interpreter"]
