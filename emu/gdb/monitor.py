"""`monitor` commands."""

from emu.gdb.target import Target


def command(target: Target, text: str) -> str:
    """What to print for a command."""
    return f"{target.name}: {text}\n"
