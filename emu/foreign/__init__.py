"""Native code that another compiler made of a program, as an `Image` that the sandbox can place, gate, watch and run.

scan.py finds what code refers to, relocate.py what that means, shape.py which BPF instruction each native instruction is
of, prologue.py the frame, symbols.py reads address maps, make.py puts it together, theirs.py is a file of such code on
the command line. link.py is for a JIT that is told all addresses beforehand. Knows our own JIT's image of the same
program for comparison, and neither runs nor judges anything.
"""

from emu.foreign.link import layout_of, linked
from emu.foreign.make import Made, image_of
from emu.foreign.symbols import read_symbols
from emu.foreign.theirs import Theirs

__all__ = ["Made", "Theirs", "image_of", "layout_of", "linked", "read_symbols"]
