"""A hunt by several processes: each takes some of the faults, and all cases. What is found does not depend on their number."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import get_context
from statistics import median

from emu.fuzz.finding import Finding
from emu.fuzz.generators import GENERATORS, make
from emu.fuzz.reduce import Budget
from emu.fuzz.sample import Sample
from emu.mutants import find
from emu.mutants.hunt import Hunt, Hunted, Hunter


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked. names: of faults. generators: in turns; a case has the same program in each hunt with this seed.

    candidates: programs that are tried to make a found one smaller, 0 to leave all as they are.
    """

    names: tuple[str, ...]
    cases: int
    seed: int
    generators: tuple[str, ...] = tuple(GENERATORS)
    candidates: int = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, in the order of `names`. The rest as in `Hunt`, of the share that went on longest."""

    hunted: tuple[Hunted, ...]
    cases: int
    accepted: int
    baseline: tuple[tuple[str, Finding], ...]

    @property
    def median(self) -> float:
        """Cases that it took to find a fault, of those that were found; 0 for none."""
        found = [one.cases for one in self.hunted if one.found is not None]
        return median(found) if found else 0


Watch = Callable[[Hunt], None]


def samples(order: Order) -> Iterator[Sample]:
    """Cases in order of number, the generators by turns."""
    for number in count():
        yield make(order.generators[number % len(order.generators)], order.seed, number)


def hunt(order: Order, jobs: int = 1, watch: Watch = lambda _hunt: None) -> Outcome:
    """All faults. watch: told now and then how far it is, where one process does it all."""
    shares = [order.names[at::jobs] for at in range(min(jobs, len(order.names)))]
    if len(shares) == 1:
        done = [_share(order, shares[0], watch)]
    else:
        with ProcessPoolExecutor(len(shares), get_context("spawn")) as pool:
            done = list(pool.map(partial(_share, order), shares))
    by_name = {one.name: one for outcome in done for one in outcome.hunted}
    longest = max(done, key=lambda outcome: outcome.cases)
    return Outcome(
        tuple(by_name[name] for name in order.names), longest.cases, longest.accepted, longest.baseline
    )


def _share(order: Order, names: Sequence[str], watch: Watch = lambda _hunt: None) -> Outcome:
    hunter = Hunter()
    mutants = [find(name) for name in names]
    state = Hunt({name: Hunted(name) for name in names})
    for state in hunter.hunt(mutants, samples(order), order.cases):
        watch(state)
    hunted = state.hunted
    if order.candidates:
        for mutant in mutants:
            hunted[mutant.name] = hunter.reduced(mutant, hunted[mutant.name], Budget(order.candidates))
            watch(state)
    return Outcome(tuple(hunted.values()), state.cases, state.accepted, tuple(state.baseline))
