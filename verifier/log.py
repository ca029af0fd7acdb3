"""The verifier log as the kernel writes it."""

from collections.abc import Iterable, Sequence

from bpf import isa
from bpf.verified import Subprog

LEVEL_STATS = 4

# Counters of the last line; the abstract interpretation fills them.
NO_STATS = {"max_states_per_insn": 0, "total_states": 0, "peak_states": 0}


# Messages that the kernel writes without a line end: what follows stands in the same line.
_UNENDED = (
    "nonzero insn_off ",
    "same or smaller insn offset ",
    "invalid type id ",
    "expected prog array map for tail call",
)


def lines(chunks: Iterable[str]) -> list[str]:
    """The lines of a log that was written piece by piece."""
    return "".join(chunks).split("\n")[:-1]


def render(
    messages: Iterable[str],
    subprogs: Sequence[Subprog],
    processed: int,
    stats: dict[str, int],
    level: int,
) -> str:
    """The log of a program that reached the verifier; level 0 has none, bit 4 adds the functions.

    The last line is written whatever the verdict is. The time that verification took is left out: it would differ
    from run to run.
    """
    if not level:
        return ""
    lines = list(messages)
    if level & LEVEL_STATS:
        lines.append(f"stack depth max {stats.get('stack_max', 0)}")
        lines += [
            f"subprog {number} ({sub.name}) {sub.kind} insns_self {sub.insns_self}"
            f" insns_total {sub.insns_total} stack {sub.stack_depth}"
            for number, sub in enumerate(subprogs)
        ]
    states = {**NO_STATS, **stats}
    lines.append(
        f"processed {processed} insns (limit {isa.MAX_INSNS})"
        f" max_states_per_insn {states['max_states_per_insn']} total_states {states['total_states']}"
        f" peak_states {states['peak_states']} mark_read 0"
    )
    return "".join(line if line.startswith(_UNENDED) else f"{line}\n" for line in lines)
