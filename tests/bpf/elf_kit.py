"""A writer of small ELF files, to make objects that no compiler would."""

import struct

SHDR = struct.Struct("<IIQQQQIIQQ")


def container(sections: dict[str, tuple[int, int, bytes]]) -> bytes:
    """An ELF file of (type, flags, bytes) by name; .symtab is linked to .strtab, a .relNAME to the section NAME."""
    names, offsets = b"\0", []
    for name in [*sections, ".names"]:
        offsets.append(len(names))
        names += name.encode() + b"\0"
    rows = [*sections.values(), (3, 0, names)]
    body, headers = b"", bytes(64)
    strings = [*sections].index(".strtab") + 1
    order = [*sections]
    for index, (offset, (kind, flags, data)) in enumerate(zip(offsets, rows, strict=True)):
        link, entry = (strings, 24) if kind == 2 else (0, 16 if kind == 9 else 0)
        info = order.index(order[index].removeprefix(".rel")) + 1 if kind == 9 else 0
        headers += SHDR.pack(offset, kind, flags, 0, 64 + len(body), len(data), link, info, 8, entry)
        body += data
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack(
            "<HHIQQQIHHHHHH", 1, 247, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(rows) + 1, len(rows)
        )
    )
    return head + body + headers
