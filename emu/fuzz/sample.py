"""A program to try, with its inputs. Knows neither who made it nor who judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bpf.program import Program, Request


@dataclass(frozen=True, slots=True)
class Sample:
    """One case of a campaign, a function of (generator, seed, number) alone.

    request: program, maps and one or more runs. others: programs that its tail calls may reach, by name.
    tags: what the generator meant, words for `--describe` ("args:12", "rule:stack-bounds/outside"); nobody judges by them.
    """

    generator: str
    seed: int
    number: int
    request: Request
    others: Mapping[str, Program] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a person calls it: `calls-7-1234`."""
        return f"{self.generator}-{self.seed}-{self.number}"
