"""An environment at the first instruction of a small program, for tests of single checks."""

from dataclasses import replace

import pytest

from bpf.maps import MapSpec, MapType
from bpf.program import Program
from tests.verifier.kit import program
from verifier.env import Env
from verifier.memory import check_mem_access
from verifier.num import const
from verifier.refused import Refused
from verifier.regs import Reg
from verifier.state import FuncState
from verifier.subprogs import check_subprogs, describe, find_points, find_subprogs

ARRAY = MapSpec("a", MapType.ARRAY, 4, 16, 1)


def make_env(prog: Program | None = None, *, maps: tuple[MapSpec, ...] = (ARRAY,)) -> Env:
    """An Env that stands at instruction 0 with nothing in its registers but the frame pointer."""
    prog = prog or program("r0 = 0\nexit\n")
    prog = replace(prog, maps=maps or prog.maps)
    points = find_points(prog.insns)
    layout = describe(prog, check_subprogs(prog.insns, find_subprogs(prog, points), points), points)
    env = Env(prog, layout, {})
    env.cur_state.frames.append(FuncState(-1, 0, 0))
    env.enter_frame()
    return env


def load(env: Env, reg: Reg, off: int, size: int, *, sign: bool = False) -> Reg:
    """What a load through R1 leaves in R2."""
    env.regs[1] = reg
    check_mem_access(env, 0, 1, off, size, 1, 2, is_ldsx=sign)
    return env.regs[2]


def store(env: Env, reg: Reg, off: int, size: int) -> None:
    """Stores R2 through R1."""
    env.regs[1] = reg
    env.regs[2] = Reg(1, const(0))
    check_mem_access(env, 0, 1, off, size, 2, 2)


def refusal(env: Env, reg: Reg, off: int, size: int, *, write: bool = False) -> tuple[str, ...]:
    """(errno, message, ...) of a refused access through R1."""
    with pytest.raises(Refused) as caught:
        (store if write else load)(env, reg, off, size)
    return (caught.value.errno, *caught.value.messages)
