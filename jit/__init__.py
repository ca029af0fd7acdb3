"""From a `Verified` program to an `Image` of x86-64 code, as Linux 7.3 would emit it."""

from jit.blinding import blind
from jit.compiler import compile_program
from jit.errors import JitUnsupported
from jit.place import place
from jit.profile import DEFAULT, PRESETS, Profile, preset

__all__ = ["DEFAULT", "PRESETS", "JitUnsupported", "Profile", "blind", "compile_program", "place", "preset"]
