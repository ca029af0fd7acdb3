"""Our native code against bytes from elsewhere: reading them, comparing, showing the first difference."""

from emu.against.match import Match, compare
from emu.against.read import Foreign, read
from emu.against.show import as_json, text

__all__ = ["Foreign", "Match", "as_json", "compare", "read", "text"]
