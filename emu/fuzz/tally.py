"""Counts of many cases, which add up: of a chunk, and of a whole campaign. Knows no engine."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_REASONS = 400  # different reasons of rejection that are told apart

_NUMBERS = re.compile(r"-?(?:0x[0-9a-f]+|\d+)")

Arc = tuple[int, int]


@dataclass(slots=True)
class Share:
    """Of one generator. cases: all; accepted: by the verifier; untaken: that an engine could not take; insns: in slots,
    of all cases."""

    cases: int = 0
    accepted: int = 0
    untaken: int = 0
    insns: int = 0

    def add(self, other: "Share") -> None:
        """Count the other's, too."""
        self.cases += other.cases
        self.accepted += other.accepted
        self.untaken += other.untaken
        self.insns += other.insns


@dataclass(slots=True)
class Tally:
    """by: generator -> its share. arguments: calls executed, by number of arguments. reasons: of rejections, with numbers as N.
    forms: names of instruction forms in accepted programs. arcs: file -> jumps between its lines that were taken.
    """

    by: dict[str, Share] = field(default_factory=dict)
    arguments: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    forms: set[str] = field(default_factory=set)
    arcs: dict[str, set[Arc]] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """All that were made."""
        return sum(share.cases for share in self.by.values())

    @property
    def accepted(self) -> int:
        """Those that the verifier accepts."""
        return sum(share.accepted for share in self.by.values())

    def share(self, generator: str) -> Share:
        """Of this generator, from now on counted here."""
        return self.by.setdefault(generator, Share())

    def add(self, other: "Tally") -> None:
        """Count the other's, too."""
        for name, share in other.by.items():
            self.share(name).add(share)
        self.arguments.update(other.arguments)
        for reason, count in other.reasons.items():
            known = reason in self.reasons or len(self.reasons) < MAX_REASONS
            self.reasons[reason if known else "(other reasons)"] += count
        self.forms |= other.forms
        for file, arcs in other.arcs.items():
            self.arcs.setdefault(file, set()).update(arcs)

    def without(self, known: "Tally") -> "Tally":
        """The same counts, with those forms and jumps only that `known` has not."""
        arcs = {file: arcs - known.arcs.get(file, set()) for file, arcs in self.arcs.items()}
        new = {file: some for file, some in arcs.items() if some}
        return Tally(self.by, self.arguments, self.reasons, self.forms - known.forms, new)

    def to_json(self) -> dict[str, object]:
        """One line of a log holds it."""
        out: dict[str, object] = {
            "by": {
                name: [share.cases, share.accepted, share.untaken, share.insns]
                for name, share in self.by.items()
            }
        }
        if self.arguments:
            out["arguments"] = {str(count): calls for count, calls in sorted(self.arguments.items())}
        if self.reasons:
            out["reasons"] = dict(sorted(self.reasons.items()))
        if self.forms:
            out["forms"] = sorted(self.forms)
        if self.arcs:
            out["arcs"] = {
                file: [at for arc in sorted(arcs) for at in arc] for file, arcs in sorted(self.arcs.items())
            }
        return out

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Tally":
        """The way back of `to_json`. Raises what looking into other values raises: KeyError, TypeError, ValueError."""
        arcs = {
            file: set(zip(ends[::2], ends[1::2], strict=True)) for file, ends in value.get("arcs", {}).items()
        }
        return cls(
            {name: Share(*counts) for name, counts in value["by"].items()},
            Counter({int(count): calls for count, calls in value.get("arguments", {}).items()}),
            Counter(value.get("reasons", {})),
            set(value.get("forms", ())),
            arcs,
        )


def general(message: str) -> str:
    """A message with N for each number, so that equal reasons count as one."""
    return _NUMBERS.sub("N", message)[:160]
