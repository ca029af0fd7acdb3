"""What a campaign knows, made of the lines of its log alone: a campaign that goes on knows what one that never stopped knows.

Every decision (what is reduced, what is kept) follows from numbers and from reduced programs, never from the order in which workers
answer. Knows neither workers nor files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from bpf.errors import InputError
from emu.fuzz.finding import Finding
from emu.fuzz.tally import Tally
from emu.fuzz.tasks import Counted, Found, Shrink, Shrunk

REDUCED: Final = 12  # findings of a group that are reduced at most
BARREN: Final = 4  # so many in a row that bring no new cause, and the group is done
GROUPS: Final = 100  # groups that are told apart
POINTS: Final = 240  # of the curve of cases over time

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding as it is kept, without its program: `Shrunk` explains the fields."""

    number: int
    group: str
    finding: Finding
    cause: str
    name: str
    generator: str
    before: int
    insns: int
    reduced: bool = True

    @classmethod
    def of(cls, answer: Shrunk) -> Self:
        """Of a worker's answer."""
        return cls(
            answer.task.number,
            answer.task.group,
            answer.finding,
            answer.cause,
            answer.name,
            answer.generator,
            answer.before,
            answer.insns,
            answer.reduced,
        )


@dataclass(slots=True)
class Group:
    """Findings that may have one cause, or several. seen: cases; first: candidates for reduction, in order of numbers.

    entries: what became of the first of them, in the same order; barren: how many of the last brought nothing new.
    stopgap: one that was kept as it was generated, since the campaign was stopped before any was reduced.
    """

    seen: int = 0
    first: list[Found] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    barren: int = 0
    stopgap: Entry | None = None

    @property
    def candidate(self) -> Found | None:
        """Which one is to be reduced next."""
        done = len(self.entries)
        return self.first[done] if self.barren < BARREN and done < min(len(self.first), REDUCED) else None

    def add(self, entry: Entry) -> None:
        """The candidate has been reduced."""
        self.stopgap = None
        known = any(entry.cause == other.cause for other in self.entries)
        self.barren = self.barren + 1 if known else 0
        self.entries.append(entry)


@dataclass(frozen=True, slots=True)
class Kept:
    """One cause. entry: the program that stands for it; seen: cases that show it, as far as known; numbers: of those reduced."""

    entry: Entry
    seen: int
    numbers: tuple[int, ...]


class State:
    """Fed with the lines of a log, it knows the rest. number: the first case that is not done yet."""

    def __init__(self) -> None:
        self.number = 0
        self.seconds = 0.0
        self.tally = Tally()
        self.groups: dict[str, Group] = {}
        self.points: list[tuple[float, int]] = [(0.0, 0)]

    @classmethod
    def of(cls, lines: list[Line], what: str) -> Self:
        """What these lines say. Raises InputError for lines that no campaign has written."""
        state = cls()
        for number, line in enumerate(lines, 1):
            try:
                state.apply(line)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError):
                raise InputError(what, f"line {number}", "is no event of a campaign") from None
        return state

    # ------------------------------------------------------------ lines

    def counted(self, answer: Counted, seconds: float) -> Line:
        """The line of a finished chunk, which is to be the next in order of numbers."""
        task = answer.task
        line: Line = {
            "chunk": [task.start, task.stop],
            "at": round(seconds, 3),
            "tally": answer.tally.without(self.tally).to_json(),
        }
        told: dict[str, set[int]] = {}
        found: list[list[object]] = []
        more: dict[str, int] = {}
        for one in answer.found:
            name = self._group(one.group, told)
            numbers = told.setdefault(name, set())
            if one.number in numbers:  # two oracles, one case
                continue
            numbers.add(one.number)
            group = self.groups.get(name)
            if (len(group.first) if group else 0) + len(numbers) <= REDUCED:
                found.append([one.number, name, *_finding(one.finding)])
            else:
                more[name] = more.get(name, 0) + 1
        return line | ({"found": found} if found else {}) | ({"more": more} if more else {})

    def _group(self, name: str, told: Mapping[str, object]) -> str:
        known = name in self.groups or name in told or len({*self.groups, *told}) < GROUPS
        return name if known else "others"

    def shrunk(self, answer: Shrunk, *, stopgap: bool = False) -> Line:
        """The line of a finished reduction. stopgap: none was made, and one may be made later."""
        entry = Entry.of(answer)
        return {
            "stopgap" if stopgap else "shrunk": [
                entry.number, entry.group, *_finding(entry.finding), entry.cause, entry.name, entry.generator,
                entry.before, entry.insns, entry.reduced,
            ]
        }  # fmt: skip

    def apply(self, line: Line) -> None:
        """Learn what a line says."""
        if "chunk" in line:
            self._apply_chunk(line)
        elif "shrunk" in line:
            entry = _entry(line["shrunk"])
            self.groups[entry.group].add(entry)
        else:
            entry = _entry(line["stopgap"])
            self.groups[entry.group].stopgap = entry

    def _apply_chunk(self, line: Line) -> None:
        start, stop = line["chunk"]
        if start != self.number:
            raise ValueError("a chunk is missing")
        self.number = stop
        self.seconds = max(self.seconds, float(line["at"]))
        self.tally.add(Tally.from_json(line["tally"]))
        for number, name, *finding in line.get("found", ()):
            group = self.groups.setdefault(name, Group())
            group.seen += 1
            group.first.append(Found(number, Finding(*finding), name))
        for name, count in line.get("more", {}).items():
            self.groups.setdefault(name, Group()).seen += count
        self._point()

    def _point(self) -> None:
        self.points.append((self.seconds, self.tally.cases))
        if len(self.points) > 2 * POINTS:
            self.points = [*self.points[:-1:2], self.points[-1]]

    # ------------------------------------------------------------ what follows

    def candidates(self) -> Iterator[Shrink]:
        """The next reduction of each group."""
        for name, group in self.groups.items():
            found = group.candidate
            if found is not None:
                yield Shrink(found.number, found.finding, name, plain=found.finding.oracle == "worker")

    def kept(self) -> list[Kept]:
        """One program a cause: the shortest, then that with the lowest number. In order of numbers."""
        by: dict[str, list[Entry]] = {}
        for group in self.groups.values():
            for entry in [*group.entries, *([group.stopgap] if group.stopgap else [])]:
                by.setdefault(entry.cause, []).append(entry)
        seen = {cause: len({entry.number for entry in entries}) for cause, entries in by.items()}
        for group in self.groups.values():
            causes = {entry.cause for entry in group.entries}
            if len(causes) == 1:  # the others of the group are taken to be of the same cause
                seen[causes.pop()] += group.seen - len(group.entries)
        best = {
            cause: min(entries, key=lambda entry: (entry.insns, entry.number, entry.name))
            for cause, entries in by.items()
        }
        kept = [
            Kept(entry, seen[cause], tuple(sorted({one.number for one in by[cause]})))
            for cause, entry in best.items()
        ]
        return sorted(kept, key=lambda one: (one.entry.number, one.entry.name))

    def dropped(self) -> set[str]:
        """Names of entries for which others stand."""
        names = {entry.name for group in self.groups.values() for entry in group.entries}
        return names - {one.entry.name for one in self.kept()}

    def unexplained(self) -> int:
        """Findings that nobody reduced, of groups with more than one cause or none."""
        return sum(
            group.seen - len(group.entries)
            for group in self.groups.values()
            if len({entry.cause for entry in group.entries}) != 1
        )

    @property
    def found(self) -> int:
        """Complaints about cases, before any of them is taken for another."""
        return sum(group.seen for group in self.groups.values())


def _finding(finding: Finding) -> list[object]:
    return [finding.oracle, finding.kind, finding.message, finding.insn, finding.run]


def _entry(fields: list[Any]) -> Entry:
    number, group, oracle, kind, message, insn, run, cause, name, generator, before, insns, reduced = fields
    finding = Finding(oracle, kind, message, insn, run)
    return Entry(number, group, finding, cause, name, generator, before, insns, reduced)
