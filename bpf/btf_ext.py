""".BTF.ext: which function, source line and CO-RE relocation belongs to which byte of a section.

      header (hdr_len): magic, version, flags, hdr_len, {func_info, line_info[, core_relo]} x {off, len}
      each part:        record size, then per section: name offset, count, records

Offsets are bytes within an ELF section, as the compiler writes them; bpf.link turns them into instruction indices.

Source: Documentation/bpf/btf.rst section 4.2, include/uapi/linux/bpf.h (struct bpf_core_relo).
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self, TypeVar

from bpf.errors import InputError

_MAGIC = 0xEB9F
_FIXED = struct.Struct("<HBBI")
_PART = struct.Struct("<II")
_WORD = struct.Struct("<I")


class CoreKind(IntEnum):
    """enum bpf_core_relo_kind."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


@dataclass(frozen=True, slots=True)
class FuncRecord:
    """The function at byte `offset` of a section has the FUNC type `type_id`."""

    offset: int
    type_id: int
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class LineRecord:
    """Source of the code from byte `offset` on. file_off, text_off: string offsets; line_col: line << 10 | column."""

    offset: int
    file_off: int
    text_off: int
    line_col: int
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class CoreRecord:
    """The instruction at byte `offset` depends on the layout of type `type_id`. access_off: string offset; kind: `CoreKind`."""

    offset: int
    type_id: int
    access_off: int
    kind: int
    rest: bytes = b""


Record = TypeVar("Record", FuncRecord, LineRecord, CoreRecord)


@dataclass(frozen=True, slots=True)
class BtfExt:
    """A parsed .BTF.ext section. Pairs hold the name of the section, as an offset into BTF's strings, and its records.

    func_size, line_size, core_size: bytes of a record. has_core: whether the header has that part.
    flags, extra: of the header, as they came.
    """

    funcs: tuple[tuple[int, tuple[FuncRecord, ...]], ...] = ()
    lines: tuple[tuple[int, tuple[LineRecord, ...]], ...] = ()
    cores: tuple[tuple[int, tuple[CoreRecord, ...]], ...] = ()
    func_size: int = 8
    line_size: int = 16
    core_size: int = 16
    has_core: bool = True
    flags: int = 0
    extra: bytes = b""

    @classmethod
    def parse(cls, blob: bytes, what: str = "BTF.ext") -> Self:
        """Reads a little-endian section. Raises InputError, which says what is malformed and where."""
        if len(blob) < _FIXED.size + 2 * _PART.size:
            raise InputError(
                what, "header", f"truncated: {len(blob)} of {_FIXED.size + 2 * _PART.size} bytes"
            )
        magic, version, flags, hdr_len = _FIXED.unpack_from(blob)
        if magic != _MAGIC:
            raise InputError(what, "header", f"bad magic {magic:#06x}, expected {_MAGIC:#06x}")
        if version != 1:
            raise InputError(what, "header", f"unsupported version {version}")
        if not _FIXED.size + 2 * _PART.size <= hdr_len <= len(blob):
            raise InputError(
                what,
                "header",
                f"header length {hdr_len} is not within {_FIXED.size + 2 * _PART.size}..{len(blob)}",
            )
        has_core = hdr_len >= _FIXED.size + 3 * _PART.size
        count = 3 if has_core else 2
        places: list[tuple[int, int]] = [
            _PART.unpack_from(blob, _FIXED.size + _PART.size * i) for i in range(count)
        ]
        body = blob[hdr_len:]
        func_size, funcs = _read_part(body, places[0], 8, _read_func, what, "func_info")
        line_size, lines = _read_part(body, places[1], 16, _read_line, what, "line_info")
        core_size, cores = (
            _read_part(body, places[2], 16, _read_core, what, "core_relo") if has_core else (16, ())
        )
        _check_layout(places, len(body), what)
        extra = blob[_FIXED.size + _PART.size * count : hdr_len]
        return cls(funcs, lines, cores, func_size, line_size, core_size, has_core, flags, extra)

    def raw(self) -> bytes:
        """The section's bytes; parts without records are written as compilers do: func_info and line_info with a
        record size, core_relo not at all.
        """
        parts = [
            _write_part(
                self.func_size,
                (
                    (name, [struct.pack("<II", r.offset, r.type_id) + r.rest for r in rs])
                    for name, rs in self.funcs
                ),
            ),
            _write_part(
                self.line_size,
                (
                    (
                        name,
                        [
                            struct.pack("<IIII", r.offset, r.file_off, r.text_off, r.line_col) + r.rest
                            for r in rs
                        ],
                    )
                    for name, rs in self.lines
                ),
            ),
        ]
        if self.has_core:
            core = _write_part(
                self.core_size,
                (
                    (
                        name,
                        [
                            struct.pack("<IIII", r.offset, r.type_id, r.access_off, r.kind) + r.rest
                            for r in rs
                        ],
                    )
                    for name, rs in self.cores
                ),
            )
            parts.append(core if self.cores else b"")
        head = _FIXED.pack(_MAGIC, 1, self.flags, _FIXED.size + _PART.size * len(parts) + len(self.extra))
        at = 0
        for part in parts:
            head += _PART.pack(at, len(part))
            at += len(part)
        return head + self.extra + b"".join(parts)


def _check_layout(places: list[tuple[int, int]], size: int, what: str) -> None:
    """Compilers write the parts one behind the other; `raw` could not write anything else."""
    at = 0
    for off, length in places:
        if length and off != at:
            raise InputError(what, "header", f"a part begins at byte {off}, expected {at}")
        at += length
    if at != size:
        raise InputError(what, "header", f"the parts fill {at} of {size} bytes")


def _read_part(
    body: bytes, place: tuple[int, int], least: int, read: Callable[[bytes], Record], what: str, part: str
) -> tuple[int, tuple[tuple[int, tuple[Record, ...]], ...]]:
    off, length = place
    if not length:
        return least, ()
    if off + length > len(body):
        raise InputError(
            what, part, f"bytes {off}..{off + length} reach past the end of the {len(body)} bytes of data"
        )
    data = body[off : off + length]
    if length < _WORD.size:
        raise InputError(what, part, f"truncated: {length} bytes have no record size")
    (size,) = _WORD.unpack_from(data)
    if size < least or size % 4:
        raise InputError(what, part, f"record size {size} is less than {least} or no multiple of 4")
    at = _WORD.size
    out = []
    while at < length:
        if at + _PART.size > length:
            raise InputError(what, part, f"truncated section header at byte {at} of {length}")
        name, count = _PART.unpack_from(data, at)
        at += _PART.size
        if not count or count * size > length - at:
            raise InputError(
                what, part, f"{count} records of {size} bytes at byte {at}, {length - at} bytes are left"
            )
        out.append((name, tuple(read(data[i : i + size]) for i in range(at, at + count * size, size))))
        at += count * size
    return size, tuple(out)


def _read_func(data: bytes) -> FuncRecord:
    offset, type_id = struct.unpack_from("<II", data)
    return FuncRecord(offset, type_id, data[8:])


def _read_line(data: bytes) -> LineRecord:
    offset, file_off, text_off, line_col = struct.unpack_from("<IIII", data)
    return LineRecord(offset, file_off, text_off, line_col, data[16:])


def _read_core(data: bytes) -> CoreRecord:
    offset, type_id, access_off, kind = struct.unpack_from("<IIII", data)
    return CoreRecord(offset, type_id, access_off, kind, data[16:])


def _write_part(size: int, sections: Iterable[tuple[int, list[bytes]]]) -> bytes:
    return _WORD.pack(size) + b"".join(
        _PART.pack(name, len(records)) + b"".join(records) for name, records in sections
    )
