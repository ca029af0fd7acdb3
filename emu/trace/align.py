"""The two logs side by side: they meet where a BPF instruction begins in native code, and are compared there.

Instructions without native code (the verifier dropped them, or they do nothing) are steps of the reference interpreter
alone. A register that it says is undefined is not compared; addresses of stacks and functions are compared by what they point to.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from bpf import isa
from emu.interp.layout import STACK_SPACING, STACK_TOP, function_address
from emu.trace import native, reference
from emu.trace.code import Code
from emu.trace.trace import REGISTERS, Finding, Step

_FILL: Final = bytes((reference.FILL,)) * isa.MAX_STACK
_WORDS: Final = struct.Struct(f"<{isa.MAX_STACK // 8}Q")
_WORD: Final = struct.Struct("<Q")
_FILL_WORD: Final = int.from_bytes(_FILL[:8], "little")
_REG: Final = {name: number for number, name in enumerate(REGISTERS)}
_IN: Final = reference.NAMES.index("in7")
_OUT: Final = reference.NAMES.index("out6")


class Alignment:
    """Steps of all runs. where: for each native moment its step. findings: values that part, or the way itself.

    cut: whether the logs end before the runs do. trapped: runs that a trap ended in the reference interpreter: there native
    code may go on.
    """

    def __init__(
        self,
        ours: Sequence[reference.Moment],
        theirs: Sequence[native.Moment],
        code: Code,
        *,
        cut: bool,
        trapped: frozenset[int] = frozenset(),
    ) -> None:
        self.steps: list[Step] = []
        self.where: list[int] = []
        self.findings: list[Finding] = []
        self.runs: list[int] = []
        self._code = code
        self._cut = cut
        self._trapped = trapped
        self._runs: dict[int, list[reference.Moment]] = {}
        for moment in ours:
            self._runs.setdefault(moment.run, []).append(moment)
        self._made = {
            (place.program, insn) for place in code.places for insn in place.begins.values() if place.program
        }
        self._pointers = {
            (name, function_address(start)): code.functions[number].addr
            for name, starts in code.starts.items()
            for start in starts
            if (number := code.holder(name, start)) >= 0
        }
        # Nobody calls these, and the kernel makes their addresses some number or other.
        self._dropped = {
            (name, function_address(start))
            for name, starts in code.starts.items()
            for start in starts
            if code.holder(name, start) < 0
        }
        self._regs: tuple[int, ...] = ()
        self._words: dict[int, int] = {}
        self._frames: tuple[tuple[int, int], ...] | None = None
        self._values: tuple[int | None, ...] = (None,) * len(reference.NAMES)
        self._stacks: list[bytes] = []
        self._marks: dict[str, tuple[str, ...]] = {}
        self._parted: set[str] = set()
        self._last: int | None = None
        self._walk(theirs)

    # ---- going along

    def _walk(self, theirs: Sequence[native.Moment]) -> None:
        run, at, lost = -1, 0, False
        ours: list[reference.Moment] = []
        for moment in theirs:
            if moment.run != run:
                run, at, lost = moment.run, 0, False
                ours = self._runs.get(run, [])
                self.runs.append(len(self.steps))
                self._last, self._parted = None, set()
            mine = None
            if moment.begins is not None and not lost:
                to = self._next(ours, at, moment)
                if to is None and self._cut and run == max(self._runs, default=0):
                    return  # the reference's log ends here, and not because the run did
                if to is None and self._code.places[moment.function].foreign:
                    pass  # it may do things in an order of its own
                elif to is None:
                    lost = True
                    if at < len(ours) or run not in self._trapped:
                        self._apart(ours[at] if at < len(ours) else None, moment)
                else:
                    for one in ours[at:to]:
                        self._alone(one)
                    mine, at = ours[to], to + 1
            self._together(moment, mine)

    def _next(self, ours: list[reference.Moment], at: int, moment: native.Moment) -> int | None:
        """Where the reference stands when native code comes to a BPF instruction; None when it goes another way."""
        program = self._code.places[moment.function].program
        want = (program, moment.begins, len(moment.frames) - 1)
        for number in range(at, len(ours)):
            one = ours[number]
            if (one.program, one.insn, one.frame) == want:
                return number
            if (one.program, one.insn) in self._made:
                return None
        return None

    def _apart(self, mine: reference.Moment | None, moment: native.Moment) -> None:
        """From here on the two are in different places."""
        there = f"insn {moment.begins} of {self._code.functions[moment.function].name}"
        here = "has come to its end" if mine is None else f"goes on at insn {mine.insn}"
        if mine is not None and mine.frame != len(moment.frames) - 1:
            here += f" in frame {mine.frame}"
        step = len(self.steps) if self._last is None else self._last
        insn = self.steps[step].insn if step < len(self.steps) else None
        text = f"the interpreter {here}, the sandbox at {there}"
        self.findings.append(Finding(step, len(self.steps), "flow", _at(insn, text), insn, moment.addr))

    def _alone(self, mine: reference.Moment) -> None:
        """A BPF instruction without native code."""
        bpf, slots = self._reference(mine)
        function = self._code.holder(mine.program, mine.insn)
        self.steps.append(Step(mine.run, function, None, mine.insn, True, {}, {}, None, bpf, slots))

    def _together(self, moment: native.Moment, mine: reference.Moment | None) -> None:
        """A native instruction; where a BPF instruction begins, with the reference's moment."""
        regs = {
            name: value
            for name, value, old in zip(REGISTERS, moment.regs, self._regs or moment.regs, strict=True)
            if value != old or not self._regs
        }
        frames = moment.frames if moment.frames != self._frames else None
        self._regs, self._frames = moment.regs, moment.frames
        self._words.update(moment.words)
        bpf: dict[str, int | None] = {}
        slots: dict[tuple[int, int], int] = {}
        marks: tuple[str, ...] = ()
        insn = moment.begins
        if insn is None and moment.function >= 0:
            place = self._code.places[moment.function]
            group = place.group(moment.addr - place.placed.addr)
            insn = None if group is None else place.begins[group]
        if mine is not None:
            bpf, slots = self._reference(mine)
            marks = self._compare(moment, mine)
            self._note(moment, mine, marks)
        self.where.append(len(self.steps))
        self.steps.append(
            Step(
                moment.run, moment.function, moment.addr, insn, mine is not None, regs, dict(moment.words),
                frames, bpf, slots, marks,
            )
        )  # fmt: skip
        if mine is not None:
            self._last = len(self.steps) - 1

    def _reference(self, mine: reference.Moment) -> tuple[dict[str, int | None], dict[tuple[int, int], int]]:
        """What the reference's registers and stacks are now, as far as it changed."""
        bpf = {
            name: value
            for name, value, old in zip(reference.NAMES, mine.values, self._values, strict=True)
            if value != old
        }
        self._values = mine.values
        slots: dict[tuple[int, int], int] = {}
        for frame, stack in enumerate(mine.stacks):
            if frame == len(self._stacks):
                self._stacks.append(_FILL)
            if stack is not self._stacks[frame] and stack != self._stacks[frame]:
                slots |= _changed(frame, self._stacks[frame], stack)
            self._stacks[frame] = stack
        return bpf, slots

    # ---- comparing

    def _compare(self, moment: native.Moment, mine: reference.Moment) -> tuple[str, ...]:
        registers = self._code.functions[moment.function].registers
        if not registers:
            return ()  # code of another compiler: nobody knows where it has what
        marks = [
            f"r{number}"
            for number, register in enumerate(registers)
            if not self._same(mine.values[number], moment.regs[_REG[register]], moment, mine)
        ]
        rsp = moment.regs[_REG["rsp"]]
        cfa = moment.fps[-1] + 16 if registers[isa.FP] == "rbp" else None
        for slot in range(isa.MAX_STACK_ARG_SLOTS):
            have = moment.regs[_REG["r9"]] if slot == 0 else self._word(rsp + 8 * (slot - 1))
            if not self._same(mine.values[_OUT + slot], have, moment, mine):
                marks.append(f"out{slot + 6}")
            if slot and cfa is not None:
                have = self._word(cfa + 8 * (slot - 1))
                if not self._same(mine.values[_IN + slot - 1], have, moment, mine):
                    marks.append(f"in{slot + 6}")
        for frame, stack in enumerate(mine.stacks):
            marks += self._stack_marks(frame, stack, moment, mine)
        return tuple(marks)

    def _stack_marks(
        self, frame: int, stack: bytes, moment: native.Moment, mine: reference.Moment
    ) -> Iterator[str]:
        low = moment.fps[frame] - isa.MAX_STACK
        if stack == _FILL or not native.on_stack(low + isa.MAX_STACK):
            return
        for at, want in enumerate(_WORDS.unpack(stack)):
            if want == _FILL_WORD:
                continue
            have = self._word(low + 8 * at)
            if self._same(want, have, moment, mine):
                continue
            pairs = zip(_WORD.pack(want), _WORD.pack(have), strict=True)
            if any(one not in (reference.FILL, other) for one, other in pairs):
                yield f"fp{frame}-{isa.MAX_STACK - 8 * at}"

    def _word(self, addr: int) -> int:
        return self._words.get(addr, _FILL_WORD)

    def _same(self, want: int | None, have: int, moment: native.Moment, mine: reference.Moment) -> bool:
        """Whether a native value is what the reference has. What is undefined may be anything."""
        if want is None or want == have:
            return True
        below = STACK_TOP - want
        if 0 <= below < len(moment.fps) * STACK_SPACING:
            frame, off = divmod(below, STACK_SPACING)
            return moment.fps[frame] - off == have
        at = (mine.program, want)
        return at in self._dropped or self._pointers.get(at) == have

    def _note(self, moment: native.Moment, mine: reference.Moment, marks: tuple[str, ...]) -> None:
        """The first time that a value parts is a finding, at the instruction before."""
        fresh = [mark for mark in marks if mark not in self._parted]
        self._parted = set(marks)
        if not fresh:
            return
        here = len(self.steps)
        step = here if self._last is None else self._last
        insn = self.steps[step].insn if step < here else mine.insn
        names = " and ".join(map(_place, fresh[:3])) + (" and more" if len(fresh) > 3 else "")
        verb = "parts" if len(fresh) == 1 else "part"
        text = f"{names} {verb}{self._values_of(fresh[0], moment, mine) if len(fresh) == 1 else ''}"
        native_addr = self.steps[step].addr if step < here else moment.addr
        self.findings.append(Finding(step, here, "value", _at(insn, text), insn, native_addr))

    def _values_of(self, mark: str, moment: native.Moment, mine: reference.Moment) -> str:
        """What both engines have, of registers."""
        if mark not in reference.NAMES:
            return ""
        want = mine.values[reference.NAMES.index(mark)]
        if mark[0] == "r":
            where = self._code.functions[moment.function].registers[int(mark[1:])]
            have = moment.regs[_REG[where]]
        elif mark == "out6":
            where, have = "r9", moment.regs[_REG["r9"]]
        else:
            number = int(mark.lstrip("inout")) - isa.MAX_REG_ARGS - 2
            base, where = moment.regs[_REG["rsp"]], f"[rsp+{8 * number:#x}]"
            if mark.startswith("in"):
                base, where = moment.fps[-1] + 16, f"[rbp+{16 + 8 * number:#x}]"
            have = self._word(base + 8 * number)
        return f": interpreter {want:#x}, sandbox {have:#x} in {where}"


def _place(mark: str) -> str:
    """`out7` is argument 7 of the next call, `in7` of this function, `fp1-16` a word of frame 1's stack."""
    number = mark.lstrip("inout")
    if mark.startswith("out"):
        return f"argument {number} of the next call"
    return f"incoming argument {number}" if mark.startswith("in") else mark


def _at(insn: int | None, text: str) -> str:
    return text if insn is None else f"insn {insn}: {text}"


def _changed(frame: int, before: bytes, now: bytes) -> dict[tuple[int, int], int]:
    pairs = zip(_WORDS.unpack(before), _WORDS.unpack(now), strict=True)
    return {(frame, 8 * at - isa.MAX_STACK): new for at, (old, new) in enumerate(pairs) if old != new}
