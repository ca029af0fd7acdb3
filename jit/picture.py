"""The frame of a function in its body as a column of stack words, high addresses on top: as data, and as text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bpf.proto import Param
from bpf.verified import Verified
from jit.argflow import parameters
from jit.frame import RETURN_ADDRESS, SAVED_RBP, WORD, Frame
from jit.regmap import CALLEE_SAVED
from jit.x64.registers import NAMES64

_INNER = 34  # columns inside the box
_BPF_NAME: Final = {NAMES64[reg]: f"r{number}" for number, reg in CALLEE_SAVED}
_NOBODY: Final[Mapping[int, str]] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """One or more words of the stack. off: from rbp, of the lowest byte. size: bytes.

    owner: "caller" (its arguments), "link" (return address and rbp), "stack", "count", "saved" or "outgoing".
    what: contents. note: for the reader, "" if there is none. rsp: distance from rsp, in bytes.
    """

    off: int
    size: int
    owner: str
    what: str
    note: str
    rsp: int


def spell(param: Param) -> str:
    """A parameter as in C: `u64 a`, `void *p`."""
    return f"{param.type}{'' if param.type.kind == 'ptr' else ' '}{param.name}".rstrip()


def rows(frame: Frame, taken: Mapping[int, str] = _NOBODY, passed: Mapping[int, str] = _NOBODY) -> list[Row]:
    """The frame from high to low addresses. taken, passed: what its arguments, in and out, are called, by number."""
    return list(_rows(frame, taken, passed))


def _rows(frame: Frame, taken: Mapping[int, str], passed: Mapping[int, str]) -> Iterator[Row]:
    body = frame.at(frame.body)

    def row(cfa: int, size: int, owner: str, what: str, note: str = "") -> Row:
        return Row(cfa - SAVED_RBP, size, owner, what, note, cfa + body.depth)

    for number in sorted(body.incoming, reverse=True):
        spot = body.incoming[number]
        yield row(spot.cfa, WORD, "caller", f"argument {number}, incoming", taken.get(number, ""))
    yield row(RETURN_ADDRESS, WORD, "link", "return address")
    yield row(SAVED_RBP, WORD, "link", "saved rbp")
    if body.stack is not None:
        depth = frame.stack_depth
        yield row(body.stack.cfa, depth, "stack", f"program stack, {depth} bytes", f"r10-{depth} .. r10-1")
    if body.counts is not None:
        yield row(body.counts.cfa + WORD, WORD, "count", "tail-call count")
        yield row(body.counts.cfa, WORD, "count", "pointer to the count")
    for reg, spot in body.saved.items():
        if reg != "rbp":
            yield row(spot.cfa, WORD, "saved", _saved(reg))
    for number in sorted(body.outgoing, reverse=True):
        spot = body.outgoing[number]
        yield row(spot.cfa, WORD, "outgoing", f"argument {number}, outgoing", passed.get(number, ""))


def incoming(verified: Verified, number: int) -> dict[int, str]:
    """The parameters of a function of the program by number, as far as BTF has them."""
    return {at: spell(param) for at, param in enumerate(parameters(verified, number), 1)}


def sixth(frame: Frame) -> str:
    """What r9 holds, "" where no argument 6 is about."""
    if 6 in frame.incoming and 6 in frame.outgoing:
        return "argument 6: the incoming one until the first store, then the outgoing one"
    if 6 in frame.incoming:
        return "argument 6, incoming"
    return "argument 6, outgoing" if 6 in frame.outgoing else ""


def picture(frame: Frame, taken: Mapping[int, str] = _NOBODY) -> list[str]:
    """Lines of text. taken: what the function's arguments are called, by number."""
    found = rows(frame, taken)
    rule = "─" * _INNER
    lines = [f"{'':12}┌{rule}┐"]
    for number, row in enumerate(found):
        if number and row.owner != found[number - 1].owner:
            lines.append(f"{'':12}├{rule}┤")
        lines.append(f"  {rbp(row.off):<10}│ {row.what:<{_INNER - 2}} │{_behind(row)}")
    lines.append(f"{'':12}└{rule}┘")
    if sixth(frame):
        lines.append(f"  {'r9':<10}  {sixth(frame)}")
    if frame.private_depth is not None:
        lines.append(f"  {'r9':<10}  r10: {private(frame)}")
    return lines


def private(frame: Frame) -> str:
    """Where a program stack lies that is not on the native stack."""
    return f"program stack of {frame.private_depth} bytes in per-CPU memory"


def _behind(row: Row) -> str:
    """What stands behind the box: the registers that point here, then the note."""
    pointers = [name for name, points in (("rbp", row.off == 0), ("rsp", row.rsp == 0)) if points]
    words = [f"◄ {', '.join(pointers)}"] if pointers else []
    if row.owner == "outgoing" and row.rsp:
        words.append(f"rsp+{row.rsp:#x}")
    elif row.note and row.owner != "outgoing":
        words.append(row.note)
    return f" {'  '.join(words)}" if words else ""


def _saved(reg: str) -> str:
    return f"saved {reg} ({_BPF_NAME[reg]})" if reg in _BPF_NAME else f"saved {reg}"


def rbp(off: int) -> str:
    """`rbp-0x10`."""
    return "rbp" if off == 0 else f"rbp{'-' if off < 0 else '+'}{abs(off):#x}"
