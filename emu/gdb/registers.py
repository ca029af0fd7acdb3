"""The registers of an x86-64 processor in the order and with the names that gdb has for them, and their description for it.

Source: gdb/features/i386/64bit-core.xml, 64bit-segments.xml: what must be there, and how it is called.
"""

from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import quoteattr


@dataclass(frozen=True, slots=True)
class Register:
    """name: gdb's. size: bytes. machine: our name of it, "" of one that no kernel code owns and that is never there."""

    name: str
    size: int
    type: str
    feature: str
    machine: str = ""


_CORE: Final = "org.gnu.gdb.i386.core"
_SEGMENTS: Final = "org.gnu.gdb.i386.segments"
_GENERAL: Final = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)))
_POINTERS: Final = {"rbp": "data_ptr", "rsp": "data_ptr"}
_FLAGS: Final = (
    ("CF", 0), ("", 1), ("PF", 2), ("AF", 4), ("ZF", 6), ("SF", 7), ("TF", 8), ("IF", 9), ("DF", 10), ("OF", 11),
    ("NT", 14), ("RF", 16), ("VM", 17), ("AC", 18), ("VIF", 19), ("VIP", 20), ("ID", 21),
)  # fmt: skip
_FLOATING: Final = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")

REGISTERS: Final = (
    *(Register(name, 8, _POINTERS.get(name, "int64"), _CORE, name) for name in _GENERAL),
    Register("rip", 8, "code_ptr", _CORE, "rip"),
    Register("eflags", 4, "i386_eflags", _CORE, "eflags"),
    *(Register(name, 4, "int32", _CORE, name) for name in ("cs", "ss", "ds", "es", "fs", "gs")),
    *(Register(f"st{n}", 10, "i387_ext", _CORE) for n in range(8)),
    *(Register(name, 4, "int", _CORE) for name in _FLOATING),
    *(Register(name, 8, "int64", _SEGMENTS, name) for name in ("fs_base", "gs_base")),
)
NUMBERS: Final = {register.name: number for number, register in enumerate(REGISTERS)}


def description() -> str:
    """target.xml."""
    flags = "".join(f'<field name="{name}" start="{bit}" end="{bit}"/>' for name, bit in _FLAGS)
    parts = [
        '<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n<target version="1.0">',
        "<architecture>i386:x86-64</architecture>",
        "<osabi>none</osabi>",
    ]
    for feature in (_CORE, _SEGMENTS):
        parts.append(f'<feature name="{feature}">')
        if feature == _CORE:
            parts.append(f'<flags id="i386_eflags" size="4">{flags}</flags>')
        for number, one in enumerate(REGISTERS):
            if one.feature == feature:
                kind = quoteattr(one.type)
                parts.append(
                    f'<reg name="{one.name}" bitsize="{8 * one.size}" type={kind} regnum="{number}"/>'
                )
        parts.append("</feature>")
    return "\n".join((*parts, "</target>\n"))
