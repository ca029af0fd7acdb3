"""Calls of BPF functions, as the gates wrote them down: into words, and checked where a log is enough for that."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from bpf import isa
from emu.native import function_of
from emu.outcome import Entry, Violation
from emu.sandbox import checks, gates
from emu.sandbox.checks import Checks
from emu.sandbox.entry import entry_rsp
from emu.sandbox.frames import pointer
from emu.sandbox.gates import Gates, Logged
from emu.sandbox.images import CodeMap, Function, Site


@dataclass(slots=True, eq=False)
class _Row:
    site: Site | None
    function: Function
    args: tuple[int, ...]
    frames: tuple[int, ...]
    record: Logged
    owned: tuple[int, ...] = ()


class Entries:
    """All calls of BPF functions of one run, round after round."""

    def __init__(self, code: CodeMap, rules: Checks) -> None:
        self._code = code
        self._rules = rules
        self._starts: dict[int, int] = {}
        self.begin()

    def begin(self) -> None:
        """Forget the run before."""
        self._rows: list[_Row] = []
        self._back: dict[int, Site | None] = {}
        self.dropped = 0

    def called_back(self, number: int, site: Site | None) -> None:
        """Call `number` of this round is a helper's, which was called at `site`."""
        self._back[number] = site

    @property
    def count(self) -> int:
        """Calls of the rounds that are over."""
        return len(self._rows)

    def collect(self, pages: Gates, *, watched: bool = False) -> list[Violation]:
        """Take what a round left in the log; what is wrong with it. watched: precise mode has looked at the arguments."""
        self.dropped += pages.lost
        found: list[Violation] = []
        frames = [entry_rsp() - 8]
        numbers = [0]  # their gates
        for number, record in enumerate(pages.records()):
            function = self._code.behind_gate(record.gate)
            if function is None or function.image is None:
                continue  # a forged record
            del frames[record.depth + 1 :], numbers[record.depth + 1 :]
            numbers += [0] * (record.depth + 1 - len(numbers))
            frames += [0] * (record.depth + 1 - len(frames))
            back = number in self._back
            site = self._back[number] if back else self._code.call_site(record.ret, gates.gate(record.gate))
            slots = function.image.verified.subprogs[function.number].in_stack_args
            args = (*record.args[:5], *(record.args[5], *record.words)[:slots])
            owned = tuple(reversed(numbers)) if self._code.private else ()
            self._rows.append(_Row(site, function, args, tuple(reversed(frames)), record, owned))
            frames.append(record.rsp - 8)
            numbers.append(record.gate)
            if len(found) >= checks.MAX_VIOLATIONS or back:
                continue
            if site is None and not self._code.is_sibling_call(record.ret):
                site = self._code.site(record.ret - 1)
                found.append(checks.return_address(site, function.name, record.ret))
            found += checks.at_call(record.rsp, record.flags, self._rules, site, function.name)
            if slots and not watched:
                found += checks.passed_nothing(args, isa.MAX_REG_ARGS + 1, site, function.name)
        self._back.clear()
        return found

    def records(self, after: Sequence[int]) -> tuple[Entry, ...]:
        """All calls as they leave the engine. after: for each call of a helper or kfunc the BPF calls before it."""
        return tuple(self._entry(number, row, after) for number, row in enumerate(self._rows))

    def _entry(self, number: int, row: _Row, after: Sequence[int]) -> Entry:
        function = row.function
        return Entry(
            row.site.insn if row.site else None,
            self._start(function),
            function.name,
            row.args,
            tuple(pointer(arg, row.frames, row.record.rsp, self._code, row.owned) for arg in row.args),
            bisect_right(after, number),
            len(row.frames) - 1,
            row.record.rax,
        )

    def _start(self, function: Function) -> int:
        """Its first instruction in the program, which may be gone from what is left of it after verification."""
        start = self._starts.get(function.addr)
        if start is None:
            assert function.image is not None
            verified = function.image.verified
            left = verified.origin[verified.subprogs[function.number].start]
            start = self._starts[function.addr] = function_of(verified.program, left)
        return start
