"""The figures of a campaign that every form of the report shows, and its JSON form (docs/formats.md)."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emu.fuzz.campaign import Result
from emu.fuzz.coverage import ALL_FORMS, Reach, available, compiled, reach
from emu.fuzz.state import Kept


@dataclass(frozen=True, slots=True)
class Numbers:
    """reached: branches, a package each. unmeasured: why there are none, "" where there are."""

    result: Result
    forms: int
    missing: tuple[str, ...]
    reached: tuple[Reach, ...]
    unmeasured: str

    @classmethod
    def of(cls, result: Result) -> "Numbers":
        """Of a campaign that is over. Takes some seconds where branches were recorded."""
        tally = result.state.tally
        reached: tuple[Reach, ...] = ()
        if result.config.coverage:
            with contextlib.suppress(KeyboardInterrupt):  # who stops a campaign again wants its findings
                reached = reach(tally.arcs)
        missing = tuple(name for name in ALL_FORMS if name not in tally.forms)
        return cls(result, len(ALL_FORMS) - len(missing), missing, reached, _unmeasured(result, reached))


def _unmeasured(result: Result, reached: Iterable[Reach]) -> str:
    if not result.config.coverage:
        return "not asked for"
    if not available():
        return "not measured: the package coverage is not installed"
    if not reached:
        return (
            "not measured: no case was recorded" if not result.state.tally.arcs else "stopped while counting"
        )
    return "the verifier runs as machine code, whose branches nobody sees" if compiled() else ""


def plain(text: str) -> str:
    """Text without what moves a cursor, turns the direction of writing, or is no letter: programs may hold any names."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def share(part: int, whole: int) -> str:
    """As percent: "95.3 %", "" of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def finding_json(result: Result, kept: Kept, folder: str | None) -> dict[str, object]:
    """One finding. file: null where nothing is written."""
    entry = kept.entry
    return {
        "kind": entry.finding.kind,
        "cause": entry.cause,
        "file": f"{folder}/findings/{entry.name}.bpf" if folder is not None else None,
        "seed": result.config.seed,
        "insns": entry.insns,
        "message": entry.finding.message,
        "oracle": entry.finding.oracle,
        "generator": entry.generator,
        "number": entry.number,
        "insns_before": entry.before,
        "reduced": entry.reduced,
        "seen": kept.seen,
        "numbers": list(kept.numbers),
    }


def summary_json(numbers: Numbers, folder: str | None) -> dict[str, object]:
    """The object that `bpfemu fuzz --json` prints."""
    result = numbers.result
    tally, config = result.state.tally, result.config
    return {
        "seed": config.seed,
        "mode": config.mode,
        "mutant": config.mutant or None,
        "cases": tally.cases,
        "accepted": tally.accepted,
        "seconds": round(result.seconds, 3),
        "stopped": result.stopped,
        "findings": [finding_json(result, one, folder) for one in result.kept],
        "found": result.state.found,
        "unexplained": result.state.unexplained(),
        "coverage": {
            "forms": {"reached": numbers.forms, "total": len(ALL_FORMS), "missing": list(numbers.missing)},
            "branches": {one.package: _reach_json(one) for one in numbers.reached},
            "note": numbers.unmeasured or None,
        },
        "generators": {
            name: {
                "cases": one.cases,
                "accepted": one.accepted,
                "untaken": one.untaken,
                "insns": round(one.insns / one.cases, 1) if one.cases else 0,
            }
            for name, one in sorted(tally.by.items())
        },
        "arguments": {str(count): calls for count, calls in sorted(tally.arguments.items())},
        "reasons": _first(tally.reasons, 40),
        "oracles": list(config.oracles),
    }


def _reach_json(one: Reach) -> dict[str, int]:
    return {
        "lines": one.lines,
        "lines_total": one.all_lines,
        "branches": one.branches,
        "branches_total": one.all_branches,
    }


def _first(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """The largest, the largest first."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most])
