"""How far a campaign is, while it runs: a table that stays in place on a terminal, else a line now and then."""

import time
from collections import deque
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from emu.fuzz.campaign import Campaign
from emu.fuzz.coverage import ALL_FORMS
from emu.fuzz.report.numbers import share

EVERY: Final = 10.0  # seconds between lines where there is no terminal
WINDOW: Final = 10.0  # seconds over which the speed is measured


class Progress:
    """Context manager; `show` is called again and again with the campaign. err: where it goes, standard error."""

    def __init__(self, err: Console) -> None:
        self._err = err
        self._live: Live | None = None
        self._last = time.monotonic()
        self._shown = 0.0
        self._past: deque[tuple[float, int]] = deque()

    def __enter__(self) -> Self:
        if self._err.is_terminal:
            self._live = Live(console=self._err, transient=True, auto_refresh=False)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, where)

    def show(self, campaign: Campaign) -> None:
        """What is known now, where it is time to show it."""
        now = time.monotonic()
        self._observe(campaign.state.tally.cases, now)
        if self._live is not None:
            if now - self._shown >= 0.2:
                self._shown = now
                self._live.update(self._table(campaign), refresh=True)
        elif now - self._last >= EVERY:
            self._last = now
            self._err.print(self.line(campaign), markup=False, soft_wrap=True)

    def line(self, campaign: Campaign) -> str:
        """In words."""
        parts = [
            f"{what} {value}" if before else f"{value} {what}"
            for what, value, before in self._facts(campaign)
        ]
        return f"{campaign.seconds:.0f} s: {', '.join(parts)}"

    def _table(self, campaign: Campaign) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="bold")
        table.add_column()
        table.add_row(_time(campaign), _limits(campaign))
        for what, value, _ in self._facts(campaign):
            style = "bold red" if what.startswith("finding") and not value.startswith("0") else ""
            table.add_row(value, Text(what, style))
        return table

    def _facts(self, campaign: Campaign) -> list[tuple[str, str, bool]]:
        """(what, figure, whether the word comes first)."""
        tally = campaign.state.tally
        causes, waiting = len(campaign.state.kept()), sum(1 for _ in campaign.state.candidates())
        arcs = sum(map(len, tally.arcs.values()))
        reducing = f" ({waiting} being reduced)" if waiting else ""
        facts = [
            ("cases", f"{tally.cases:,}", False),
            ("a second", f"{self._speed():,.0f}", False),
            ("accepted", share(tally.accepted, tally.cases) or "none", True),
            ("instruction forms", f"{len(tally.forms)} of {len(ALL_FORMS)}", False),
        ]
        if arcs:
            facts.append(("branches of our own code taken", f"{arcs:,}", False))
        return [*facts, (f"finding{'' if causes == 1 else 's'}{reducing}", str(causes), False)]

    def _observe(self, cases: int, now: float) -> None:
        self._past.append((now, cases))
        while len(self._past) > 2 and now - self._past[0][0] > WINDOW:
            self._past.popleft()

    def _speed(self) -> float:
        """Cases a second, lately."""
        (then, before), (now, cases) = self._past[0], self._past[-1]
        return (cases - before) / (now - then) if now > then else 0.0


def _time(campaign: Campaign) -> str:
    minutes, seconds = divmod(int(campaign.seconds), 60)
    return f"{minutes}:{seconds:02}"


def _limits(campaign: Campaign) -> str:
    limits = campaign.limits
    parts = []
    if limits.seconds is not None:
        parts.append(f"of {limits.seconds:g} s")
    if limits.cases is not None:
        parts.append(f"of {limits.cases:,} cases")
    return " or ".join(parts)
