"""Which statements there are that are no calls, and how often each is chosen. Any may stand anywhere.

That includes the places between the stores of a call's arguments and the call.
"""

from collections.abc import Sequence

from emu.fuzz.generators.accesses import (
    array,
    atomic,
    context,
    fill,
    indexed,
    load_argument,
    packet,
    packet_load,
    spill,
)
from emu.fuzz.generators.arith import alu
from emu.fuzz.generators.body import Body
from emu.fuzz.generators.branches import Statement, diamond, loop, may_goto


def _fork(body: Body) -> None:
    """Two ways that meet again; at times one of them is empty."""
    diamond(body, some, None if body.draw.random() < 0.3 else some)


def some(body: Body) -> None:
    """None to three statements."""
    for _ in range(body.draw.below(4)):
        plain(body)


def _loop(body: Body) -> None:
    """A few rounds of one to three statements."""

    def rounds(inner: Body) -> None:
        for _ in range(inner.draw.between(1, 3)):
            plain(inner)

    loop(body, rounds)


def _argument(body: Body) -> None:
    """A stack argument, late."""
    load_argument(body)


PLAIN: Sequence[Statement] = (
    *(alu,) * 8,
    *(spill,) * 3,
    *(fill,) * 3,
    *(context,) * 2,
    *(array,) * 2,
    *(indexed,) * 2,
    *(_fork,) * 3,
    _argument,
    _argument,
    packet,
    _loop,
    may_goto,
    packet_load,
    atomic,
    atomic,
)


def plain(body: Body) -> None:
    """One statement without calls. What few programs are to have at all is more frequent in those."""
    plan = body.plan
    if plan.may_gotos > 0 and plan.draw.random() < 0.1:
        may_goto(body)
        return
    if plan.packet_loads and plan.draw.random() < 0.06:
        packet_load(body)
        return
    PLAIN[int(body.draw.random() * len(PLAIN))](body)


__all__ = ["PLAIN", "plain", "some"]
