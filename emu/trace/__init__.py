"""Both engines in step, instruction by instruction: `bpfemu trace`.

One line a file: trace (the values), reference and native (what each engine writes down), owners (who owns each word of the
native stack, from what is executed), code (listings), align (the two logs side by side), calls (arguments from both ends),
recording (a program to its trace), text, asjson and page (what is made of a trace; they decide nothing).
"""

from emu.trace.recording import record
from emu.trace.trace import Trace

__all__ = ["Trace", "record"]
