"""Our native code against bytes from elsewhere: reading them, comparing, showing the first difference."""

from emu.against.code import Foreign, Listing
from emu.against.match import Match, compare
from emu.against.read import listing, read
from emu.against.show import as_json, text

__all__ = ["Foreign", "Listing", "Match", "as_json", "compare", "listing", "read", "text"]
