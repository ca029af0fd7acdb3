"""The comparison for people and as JSON: the first instruction that differs, theirs and ours side by side, in BPF terms."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from bpf.disasm import disasm
from emu.against.code import Foreign
from emu.against.match import FunctionMatch, Match
from emu.native import source_line
from jit.decoder import new_decoder
from jit.image import Image, NativeFunction, Reloc

_CONTEXT: Final = 2  # equal instructions shown in front of the difference
_AFTER: Final = 2  # instructions shown behind it
_WIDTH: Final = 58  # columns of one side
_BYTES: Final = 15  # the longest instruction
_DECODER = new_decoder()

Line = tuple[int, bytes, str]  # offset, bytes, assembly


def text(image: Image, match: Match) -> str:
    """Lines of the comparison; the first function that differs is shown, the others are counted."""
    lines = []
    shown = False
    for found in match.functions:
        lines.append(_summary(image, found))
        if found.at is not None and not shown:
            shown = True
            lines += _difference(image, found)
    lines += [
        f"another function of {len(one.code)} bytes on the other side: {one.name or '?'}"
        for one in match.extra
    ]
    return "\n".join(line.rstrip() for line in lines)


def as_json(image: Image, match: Match) -> dict[str, object]:
    """The same as an object: equal, and for each function the difference or none."""
    return {
        "equal": match.equal,
        "functions": [_function_json(image, found) for found in match.functions],
        "extra": [{"name": one.name, "len": len(one.code)} for one in match.extra],
    }


def _function_json(image: Image, found: FunctionMatch) -> dict[str, object]:
    function = image.functions[found.number]
    out: dict[str, object] = {
        "name": function.name,
        "len": len(function.code),
        "their_len": None if found.theirs is None else len(found.theirs.code),
        "equal": found.at is None,
        "fields_not_compared": found.fields,
    }
    if found.at is None:
        return out
    out |= {"at": found.at, "why": found.why}
    slot = _slot(image, found)
    if slot is not None:
        out |= {"insn": image.verified.origin[slot], "slot": slot, "bpf": _bpf(image, slot)}
    if found.theirs is not None:
        start = _start(function, found.at)
        for side, code in (("ours", function.code), ("theirs", found.theirs.code)):
            at, raw, assembly = _decode(code, start, 1)[0] if start < len(code) else (start, b"", "")
            out[side] = {"at": at, "hex": raw.hex(), "asm": assembly}
    return out


def _summary(image: Image, found: FunctionMatch) -> str:
    function = image.functions[found.number]
    head = f"func#{found.number} {function.name}: "
    if found.theirs is None:
        return head + found.why
    if found.at is not None:
        lengths = f"{len(function.code)} bytes, theirs {len(found.theirs.code)}"
        return f"{head}differs at offset {found.at:#x} ({lengths}): {found.why}"
    masked = f", {found.fields} addresses not known" if found.fields else ""
    return f"{head}equal, {len(function.code)} bytes{masked}"


def _difference(image: Image, found: FunctionMatch) -> Iterator[str]:
    function = image.functions[found.number]
    assert found.at is not None
    slot = _slot(image, found)
    yield ""
    if slot is None:
        yield "  in the prologue" if found.at < function.prologue else "  behind the last instruction"
    else:
        yield f"  in {_bpf(image, slot)}"
        yield from _source(image, slot)
    if found.theirs is not None:
        yield ""
        yield f"  {'':7}{'ours':<{_WIDTH}}theirs"
        yield from _side_by_side(function, found.theirs, found.at)
    yield ""


def _source(image: Image, slot: int) -> Iterator[str]:
    origin = image.verified.origin[slot]
    program = image.verified.program
    if image.verified.insns[slot] != (program.insns[origin] if origin < len(program.insns) else None):
        yield f"     made from insn {origin}" + (
            f": {disasm(program.insns[origin], program.insns[origin + 1] if origin + 1 < len(program.insns) else None)}"
            if origin < len(program.insns)
            else ""
        )
    line = source_line(program, origin)
    if line is not None:
        yield f"     {line.file}:{line.line}: {line.text.strip()}"


def _side_by_side(ours: NativeFunction, theirs: Foreign, at: int) -> Iterator[str]:
    boundary = _start(ours, at)
    before = _decode(ours.code[:boundary], 0, boundary)[-_CONTEXT:]
    for line in before:
        yield _row(line, line, " ")
    left = _decode(ours.code, boundary, 1 + _AFTER)
    right = _decode(theirs.code, boundary, 1 + _AFTER)
    for number in range(max(len(left), len(right))):
        mine = left[number] if number < len(left) else None
        other = right[number] if number < len(right) else None
        yield _row(mine, other, ">" if number == 0 else " ")
    for reloc in ours.relocs:
        if boundary <= reloc.off <= at < reloc.off + reloc.size:
            yield f"    the field at {reloc.off:#x} holds the address of {_target(reloc)}"


def _target(reloc: Reloc) -> str:
    return reloc.symbol or f"{reloc.kind} {reloc.target}"


def _row(mine: Line | None, other: Line | None, mark: str) -> str:
    at = (mine or other or (0, b"", ""))[0]
    return f" {mark} {at:04x}  {_cell(mine):<{_WIDTH}}{_cell(other)}"


def _cell(line: Line | None) -> str:
    if line is None:
        return "(ends)"
    return f"{line[1].hex():<20} {line[2]} "


def _start(function: NativeFunction, at: int) -> int:
    """Where the native instruction at offset `at` starts; both sides agree up to there."""
    start = 0
    for offset, raw, _ in _decode(function.code, 0, len(function.code)):
        if offset > at:
            break
        start = offset if offset + len(raw) > at else offset + len(raw)
    return start


def _decode(code: bytes, start: int, count: int) -> list[Line]:
    """At most `count` instructions from `start` on; a byte that is none is shown as such."""
    out: list[Line] = []
    at = start
    while at < len(code) and len(out) < count:
        decoded = next(_DECODER.disasm_lite(code[at : at + _BYTES], at, 1), None)
        size, words = (
            (1, "(no instruction)") if decoded is None else (decoded[1], f"{decoded[2]} {decoded[3]}".strip())
        )
        out.append((at, code[at : at + size], words))
        at += size
    return out


def _slot(image: Image, found: FunctionMatch) -> int | None:
    """The slot in `Verified.insns` whose code the difference is in, None in the prologue or behind the end."""
    function, sub = image.functions[found.number], image.verified.subprogs[found.number]
    if found.theirs is None or found.at is None or not function.prologue <= found.at < len(function.code):
        return None
    return sub.start + bisect_right(function.offsets, found.at) - 1


def _bpf(image: Image, slot: int) -> str:
    insns = image.verified.insns
    return f"insn {slot}: {disasm(insns[slot], insns[slot + 1] if slot + 1 < len(insns) else None)}"
