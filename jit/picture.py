"""The frame of a function drawn as a column of stack words, high addresses on top."""

from collections.abc import Iterator

from jit.frame import Frame, Place
from jit.regmap import CALLEE_SAVED
from jit.x64.registers import NAMES64

_INNER = 34  # columns inside the box
_BPF_NAME = {NAMES64[reg]: f"r{number}" for number, reg in CALLEE_SAVED}
_WORD = 8


def picture(frame: Frame, counts: int = 0) -> list[str]:
    """Lines of text. counts: bytes of the tail-call words between program stack and saved registers."""
    groups = [group for group in _groups(frame, counts) if group]
    rule = "─" * _INNER
    lines = [f"{'':12}┌{rule}┐"]
    for number, group in enumerate(groups):
        if number:
            lines.append(f"{'':12}├{rule}┤")
        lines += (f"  {where:<10}│ {what:<{_INNER - 2}} │{_behind(note)}" for where, what, note in group)
    lines.append(f"{'':12}└{rule}┘")
    if 6 in frame.incoming or 6 in frame.outgoing:
        lines.append(f"  {'r9':<10}  {_sixth(frame)}")
    return lines


_Word = tuple[str, str, str]  # address, contents, what stands behind the box


def _groups(frame: Frame, counts: int) -> Iterator[list[_Word]]:
    yield [(_rbp(place.off or 0), f"argument {n}, incoming", "") for n, place in _above(frame)]
    no_stack = frame.size == 0
    yield [
        (_rbp(_WORD), "return address", ""),
        (_rbp(0), "saved rbp", "◄ rbp, rsp" if no_stack else "◄ rbp"),
    ]
    below: list[list[_Word]] = []
    if frame.stack_depth:
        reach = f"r10-{frame.stack_depth} .. r10-1"
        below.append([(_rbp(-frame.stack_depth), f"program stack, {frame.stack_depth} bytes", reach)])
    if counts:
        first = -(frame.stack_depth + _WORD)
        below.append(
            [(_rbp(first), "tail-call count", ""), (_rbp(first - _WORD), "pointer to the count", "")]
        )
    below.append([(_rbp(off), _saved(reg), "") for reg, off in frame.saved])
    outgoing = sorted(((n, p.off) for n, p in frame.outgoing.items() if p.off is not None), reverse=True)
    below.append(
        [(_rbp(off), f"argument {n}, outgoing", f"rsp+{off + frame.size:#x}") for n, off in outgoing]
    )
    below = [group for group in below if group]
    if below:
        where, what, note = below[-1][-1]
        below[-1][-1] = (where, what, f"◄ rsp  {note}" if note and "rsp" not in note else "◄ rsp")
    yield from below


def _above(frame: Frame) -> list[tuple[int, Place]]:
    return sorted(
        ((n, place) for n, place in frame.incoming.items() if n > 6), reverse=True, key=lambda item: item[0]
    )


def _saved(reg: str) -> str:
    return f"saved {reg} ({_BPF_NAME[reg]})" if reg in _BPF_NAME else f"saved {reg}"


def _sixth(frame: Frame) -> str:
    match 6 in frame.incoming, 6 in frame.outgoing:
        case True, True:
            return "argument 6: the incoming one until the first store, then the outgoing one"
        case True, False:
            return "argument 6, incoming"
        case _:
            return "argument 6, outgoing"


def _rbp(off: int) -> str:
    return "rbp" if off == 0 else f"rbp{'-' if off < 0 else '+'}{abs(off):#x}"


def _behind(note: str) -> str:
    return f" {note}" if note else ""
