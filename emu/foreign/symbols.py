"""Address maps: lines as in /proc/kallsyms, `ffffffff815c5f60 T bpf_loop [module]`. Everything wrong is an InputError."""

import re
from typing import Final

from bpf.errors import InputError
from emu.load import read_text

_LINE: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{1,16})\s+(?:[A-Za-z?]\s+)?([^\s\[]\S*)(?:\s+\[\S+\])?\s*\Z")


def read_symbols(file: str) -> dict[int, str]:
    """Names by address. Of several names of one address the first counts. Raises InputError."""
    out: dict[int, str] = {}
    zeros = 0
    for number, line in enumerate(read_text(file).splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        match = _LINE.match(line)
        if match is None:
            raise InputError(file, f"line {number}", "must be an address and a name, as in /proc/kallsyms")
        addr = int(match[1], 16)
        zeros += addr == 0
        out.setdefault(addr, match[2])
    if not out:
        raise InputError(file, "", "names no address")
    if zeros > 1:
        raise InputError(
            file,
            "",
            "has addresses of 0: /proc/kallsyms shows the real ones to root, with kptr_restrict below 2",
        )
    return out
