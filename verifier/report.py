"""The block that a 7.3 kernel adds to some refusals: what is wrong, where, how it came to be, and what to do.

Source: the rendering of kernel/bpf/diagnostics.c. Lays text out; which text is verifier/diagnose.py's business.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bpf import isa
from bpf.insn import Insn
from bpf.program import LineInfo, Program
from verifier import history, regs
from verifier.history import Event
from verifier.num import Num
from verifier.regs import Reg
from verifier.statelog import btf_type_name, reg_type_str
from verifier.subprogs import Function

_WIDTH: Final = 100
_AROUND: Final = 2  # lines and instructions shown in front and behind
_SOURCE_WIDTH: Final = 88
_TAB: Final = 8
_MAX_EVENTS: Final = 64
_S64_MIN, _S64_MAX, _U64_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1
_LOST: Final = {
    history.PKT_DATA_CHANGE: "packet data may have moved",
    history.NON_OWNING: "leaving the protected region invalidated this borrowed pointer",
}


@dataclass(frozen=True, slots=True)
class Code:
    """The program as reports show it. text_of: an instruction as the log has it."""

    program: Program
    insns: Sequence[Insn]
    functions: Sequence[Function]
    text_of: Callable[[int], str]


class Report:
    """Text of one block, written part by part."""

    def __init__(self, code: Code, category: str, problem: str) -> None:
        self.code = code
        self.lines = ["", f"Verification failed: {category}: {problem[:1].upper()}{problem[1:]}"]

    def text(self) -> str:
        """The block with its line ends."""
        return "".join(f"{line}\n" for line in self.lines)

    def section(self, title: str) -> None:
        """A heading."""
        self.lines += ["", f"{title}:"]

    def reason(self, text: str) -> None:
        """Why it is refused."""
        self.section("Reason")
        self._wrapped(text, "  ", "  ")

    def suggestion(self, text: str) -> None:
        """What to do; ends the block."""
        self.section("Suggestion")
        self._wrapped(text, "  ", "  ")
        self.lines.append("")

    def _wrapped(self, text: str, first: str, following: str) -> None:
        prefix = first
        while text:
            width = max(_WIDTH - len(prefix), 1)
            end = text.find("\n")
            line = text if end < 0 else text[:end]
            cut = min(len(line), width)
            if len(line) > cut and line[cut] != " ":
                space = line.rfind(" ", 0, cut)
                cut = space if space > 0 else cut
            self.lines.append(prefix + line[:cut])
            text = text[cut:].lstrip(" ").removeprefix("\n")
            prefix = following

    # ---- places in the program

    def at(self, insn: int, label: str, message: str) -> None:
        """An instruction, in its source where that is known, with what is to be said of it."""
        info = self._line_info(insn)
        if info is None or not info.file or not info.text:
            self.lines.append(f"  insn {insn}")
            self._note(0, 0, label, message)
        else:
            self._source(insn, info, label, message)
        self._instructions(insn)

    def _line_info(self, insn: int) -> LineInfo | None:
        infos = self.code.program.line_info
        if not infos:
            return None
        return infos[max(bisect_right(infos, insn, key=lambda info: info.insn) - 1, 0)]

    def _note(self, width: int, indent: int, label: str, message: str) -> None:
        indent = min(indent, max(0, _SOURCE_WIDTH - width - 8))
        blank = " " * (width + 4)
        self._wrapped(
            f"{label}: {message}",
            f"  {blank} | {' ' * indent}^-- ",
            f"  {blank} | {' ' * indent}    ",
        )

    def _source(self, insn: int, info: LineInfo, label: str, message: str) -> None:
        function = next((f for f in self.code.functions if f.start <= insn < f.end), None)
        name = function.name if function is not None else ""
        self.lines.append(
            f"  {name + ' @ ' if name else ''}{info.file.rsplit('/', 1)[-1]}:{info.line}:{info.column}"
        )
        width = len(str(max(info.line + _AROUND, 0)))
        texts: dict[int, str] = {}
        for one in self.code.program.line_info:
            inside = function is None or function.start <= one.insn < function.end
            if inside and one.file == info.file and one.text and abs(one.line - info.line) <= _AROUND:
                texts.setdefault(one.line, one.text)
        self.lines.append("  Source context:")
        for line in range(info.line - _AROUND, info.line + _AROUND + 1):
            lane = ""
            if line > 0:
                lane = f"{'>>> ' if line == info.line else '    '}{line:{width}d} | "
                lane += _fitting(texts.get(line, "..."), _SOURCE_WIDTH - len(lane))
            self.lines.append(f"  {lane}")
            if line == info.line:
                self._note(width, _indent(info.text), label, message)

    def _instructions(self, insn: int) -> None:
        insns = self.code.insns
        width = len(str(len(insns) - 1))
        self.lines.append("  Instruction context:")
        for at in range(max(insn - _AROUND, 0), min(insn + _AROUND + 1, len(insns))):
            if at and insns[at - 1].code == isa.LD_IMM64:
                continue
            if insns[at].code == isa.LD_IMM64 and at + 1 == len(insns):
                continue
            mark = ">>> " if at == insn else "    "
            self.lines.append(f"  {mark}{at:{width}d} | {self.code.text_of(at)}")

    # ---- the way there

    def path(self, events: Sequence[Event]) -> None:
        """What happened, one instruction after the other."""
        self.section("Causal path")
        half = _MAX_EVENTS // 2
        for number, event in enumerate(events):
            if len(events) > _MAX_EVENTS and half <= number < len(events) - half:
                if number == half:
                    left_out = len(events) - _MAX_EVENTS
                    self.lines += ["", f"  {left_out} intermediate causal-history events omitted"]
                continue
            if number:
                self.lines.append("")
            self.at(event.insn, *_event_text(event))
        if not events:
            self.lines.append("  no retained diagnostic events on this path")


def _event_text(event: Event) -> tuple[str, str]:
    """Label and text of an event."""
    if event.kind == history.BRANCH:
        way, what = ("true", "followed") if event.taken else ("false", "not followed")
        return "branch", f"took the {way} branch of this conditional, goto {what}"
    if event.kind == history.SECTION:
        what = "entered" if event.taken else "left"
        return "context", f"{what} {event.name}; depth is now {event.depth}"
    if event.kind != history.CHANGE:
        return event.kind, f"owned resource (id={event.ref})"
    return _change_text(event)


def _change_text(event: Event) -> tuple[str, str]:
    place = event.place
    if place.kind == history.STACK_RANGE:
        where = f"bytes fp{place.start} through fp{place.number - 1}"
        return "invalidated", f"variable-offset stack write may affect {where}"
    if place.kind == history.REG:
        name = f"R{place.number}"
    elif place.kind == history.STACK_ARG:
        name = f"*(R11-{8 * (place.number + 1)})"
    else:
        name = f"stack slot fp{-8 * (place.number + 1)}"
    why = _why_lost(event)
    old = held_text(event.old)
    if why:
        return "invalidated", f"{name}: {why}; previous value was {old}"
    label = "spilled" if event.reason == history.SPILL else "update"
    return label, f"{name} changed from {old} to {held_text(event.new)}"


def _why_lost(event: Event) -> str:
    kind = event.place.kind
    if event.reason == history.REF_RELEASE:
        return f"resource release invalidated this {'pointer' if kind == history.REG else 'value'}"
    if event.reason == history.CALLER_SAVED:
        what = "outgoing stack argument" if kind == history.STACK_ARG else "caller-saved register"
        return f"call invalidated this {what}"
    if event.reason == history.WRITE and kind == history.STACK_SLOT:
        return "a later stack write overwrote this spilled value"
    return _LOST.get(event.reason, "")


def _indent(text: str) -> int:
    column = 0
    for char in text:
        if char == "\t":
            column = -(-(column + 1) // _TAB) * _TAB
        elif char == " ":
            column += 1
        else:
            break
    return column


def _fitting(text: str, width: int) -> str:
    """Tabs expanded, cut to a width."""
    text = text.expandtabs(_TAB)
    return text if len(text) <= width else text[: max(width - 3, 0)] + "."[:1] * min(3, width)


# ---- values


def is_unbounded(num: Num) -> bool:
    """Whether nothing is known of a number."""
    full = (num.smin, num.smax, num.umin, num.umax) == (_S64_MIN, _S64_MAX, 0, _U64_MAX)
    return num.mask == _U64_MAX and full


def _signed_text(value: int) -> str:
    return {_S64_MIN: "S64_MIN", _S64_MAX: "S64_MAX"}.get(value, str(value))


def range_text(num: Num) -> str:
    """Both ranges of a number."""
    high = "U64_MAX" if num.umax == _U64_MAX else str(num.umax)
    low = "U64_MAX" if num.umin == _U64_MAX else str(num.umin)
    signed = f"[{_signed_text(num.smin)}, {_signed_text(num.smax)}]"
    return f"signed range {signed}, unsigned range [{low}, {high}]"


def _offset_text(num: Num) -> str:
    if not num.mask:
        return f"at offset {num.signed_value}"
    if is_unbounded(num):
        return "with unknown offset"
    return f"with variable offset: known bits {num.value:#x}, unknown mask {num.mask:#x}, {range_text(num)}"


def held_text(reg: Reg | None) -> str:
    """What a register holds, in words (diag_reg_snapshot)."""
    if reg is None or reg.type == regs.NOT_INIT:
        return "uninitialized value"
    if reg.type == regs.SCALAR_VALUE:
        return _scalar_text(reg.num)
    base = reg.type & regs.BASE_TYPE_MASK
    offset = _offset_text(reg.num)
    if base == regs.PTR_TO_CTX:
        return f"context pointer {offset}"
    if base == regs.PTR_TO_STACK:
        return f"stack pointer {offset}"
    if base == regs.PTR_TO_MAP_VALUE:
        name = reg.map.spec.name[:15]
        kind = "nullable map value" if reg.type & regs.PTR_MAYBE_NULL else "map value"
        return f"{kind} from {name} {offset}" if name else f"{kind} {offset}"
    if base == regs.CONST_PTR_TO_MAP:
        name = reg.map.spec.name[:15]
        return f"map pointer for map {name}" if name else "map pointer"
    return _object_text(reg, base, offset)


def _scalar_text(num: Num) -> str:
    if not num.mask:
        return f"integer scalar value {num.signed_value}"
    if is_unbounded(num):
        return "integer scalar with unknown value"
    if num.size == 0:
        return f"integer scalar value {num.smin}"
    return f"integer scalar with {range_text(num)}"


def _object_text(reg: Reg, base: int, offset: str) -> str:
    name = ""
    if base == regs.PTR_TO_BTF_ID and reg.btf_id:
        name = f"(struct {btf_type_name(reg.btf, reg.btf_id)})"
    if base == regs.PTR_TO_BTF_ID and reg.type & regs.MEM_ALLOC:
        kind = "borrowed" if reg.type & regs.NON_OWN_REF else "owned"
        return f"{kind} allocated object pointer{f' type={name}' if name else ''}"
    if name:
        return f"{reg_type_str(reg.type)} type={name} {offset}"
    return f"{reg_type_str(reg.type)} {offset}"


def plain_text(reg_type: int) -> str:
    """A type of register, in words (bpf_diag_reg_type_plain)."""
    base = reg_type & regs.BASE_TYPE_MASK
    nullable = "nullable " if reg_type & regs.PTR_MAYBE_NULL else ""
    if base in _PLAIN:
        return _PLAIN[base]
    if base in (regs.PTR_TO_MAP_VALUE, regs.PTR_TO_MEM):
        return f"a {nullable}{'map value' if base == regs.PTR_TO_MAP_VALUE else 'memory'} pointer"
    if base != regs.PTR_TO_BTF_ID:
        return reg_type_str(reg_type)
    if nullable:
        return "a nullable kernel object pointer"
    if reg_type & regs.MEM_ALLOC:
        return (
            "a borrowed allocated object pointer"
            if reg_type & regs.NON_OWN_REF
            else "an owned allocated object pointer"
        )
    return f"{'an untrusted' if reg_type & regs.PTR_UNTRUSTED else 'a'} kernel object pointer"


_PLAIN: Final = {
    regs.NOT_INIT: "an uninitialized value",
    regs.SCALAR_VALUE: "an integer scalar",
    regs.PTR_TO_CTX: "a context pointer",
    regs.PTR_TO_STACK: "a stack pointer",
}
