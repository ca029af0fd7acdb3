"""A module as `--kfuncs` takes it: kfuncs that programs call, and generators of small programs that call them.

`tiny`: kfuncs with 6 and 12 parameters. `deadly`: a kfunc that kills the process that runs it, in some cases; with the file that
TINY_ONCE names missing, it makes that file and dies in one case more, which is well behaved from then on.
"""

import os
import random
import signal
from pathlib import Path

from bpf import asm
from bpf.program import Request
from emu.fuzz.generators import GENERATORS, Made
from emu.runtime.kfuncs import kfunc
from emu.runtime.world import World

SIX = "u64 tiny_six(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)"
TWELVE = "u64 tiny_twelve(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l)"
DEADLY = "u64 tiny_deadly(u64 a)"
KILLS, KILLS_ONCE = 7, 11


@kfunc(SIX)
def tiny_six(_world: World, *args: int) -> int:
    """The exclusive or of all."""
    out = 0
    for arg in args:
        out ^= arg
    return out


@kfunc(TWELVE)
def tiny_twelve(_world: World, *args: int) -> int:
    """The first of all."""
    return args[0]


@kfunc(DEADLY)
def tiny_deadly(_world: World, a: int) -> int:
    """Dies of one number always, and of another one the first time."""
    once = Path(os.environ.get("TINY_ONCE", os.devnull))
    if a == KILLS_ONCE and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if a == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    return a


def tiny(rng: random.Random) -> Made:
    """A call with 6 arguments, seldom with 12; one program of twenty reads what nobody wrote."""
    count = 12 if rng.random() < 0.08 else 6
    lines = ["prog tc", "int main(void *ctx):", f"  r6 = {rng.randrange(1 << 31)}"]
    lines += [f"  r6 {rng.choice(('+=', '-=', '^=', '*='))} r6" for _ in range(rng.randrange(4))]
    lines += [f"  *(u64 *)(r11 -{8 * slot}) = r6" for slot in range(1, count - 4)]
    lines += [f"  r{reg} = {rng.randrange(1 << 31)}" for reg in range(1, 6)]
    result = "r9" if rng.random() < 0.05 else "r6"
    lines += [f"  call {'tiny_twelve' if count > 6 else 'tiny_six'}", f"  r0 ^= {result}", "  exit"]
    return Made(Request(asm.parse("\n".join(lines) + "\n", "tiny").program))


def deadly(rng: random.Random) -> Made:
    """One call, with a number that may kill."""
    text = (
        f"prog tc\nint main(void *ctx):\n  r1 = {rng.randrange(40)}\n  call tiny_deadly\n  r0 = 0\n  exit\n"
    )
    return Made(Request(asm.parse(text, "deadly").program))


GENERATORS["tiny"] = tiny
GENERATORS["deadly"] = deadly
