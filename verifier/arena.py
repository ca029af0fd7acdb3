"""What the emitter must know of a program's arena: where user space sees it, and which kfuncs take addresses in it.

Source: resolve_pseudo_ldimm64 (one arena a program, its user address), gen_kfunc_arg_proto (argument names).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from bpf import isa
from bpf.insn import Insn
from bpf.maps import ARENA_USER, MapType
from bpf.program import Program
from bpf.proto import FuncProto

_MAP_REFS: Final = (
    isa.PSEUDO_MAP_FD,
    isa.PSEUDO_MAP_IDX,
    isa.PSEUDO_MAP_VALUE,
    isa.PSEUDO_MAP_IDX_VALUE,
)

F_NO_USER_CONV: Final = 1 << 18


def arena_user(program: Program) -> int | None:
    """The user address of the arena that a program refers to, None without one.

    It is the map's map_extra. Where that is 0 a process chooses it when it maps the arena; here it is always the same.
    """
    for insn in program.insns if program.maps else ():
        if insn.code == isa.LD_IMM64 and insn.src in _MAP_REFS and 0 <= insn.imm < len(program.maps):
            spec = program.maps[insn.imm]
            if spec.type == MapType.ARENA:
                return spec.extra or ARENA_USER
    return None


def arena_converts(program: Program) -> bool:
    """Whether an address of the arena has another form for user space (no BPF_F_NO_USER_CONV)."""
    return not any(spec.type == MapType.ARENA and spec.flags & F_NO_USER_CONV for spec in program.maps)


def is_arena_param(name: str) -> bool:
    """Whether a kfunc's parameter of this name is an address in the arena."""
    return name.endswith(("__arena", "__arena__nullable"))


def arena_args(
    kfuncs: Mapping[int, FuncProto], insns: Sequence[Insn], origin: Sequence[int]
) -> dict[int, tuple[tuple[int, bool], ...]]:
    """For each call, by its slot in the new program, the arguments in registers that are in the arena, and may be null.

    kfuncs: prototypes by instruction of the program; origin: that instruction, for each slot.
    """
    found = {}
    for slot, insn in enumerate(insns):
        proto = kfuncs.get(origin[slot])
        if proto is None or not insn.is_call or insn.src != isa.PSEUDO_KFUNC_CALL:
            continue
        args = tuple(
            (number, param.name.endswith("__nullable"))
            for number, param in enumerate(proto.params[: isa.MAX_REG_ARGS], 1)
            if is_arena_param(param.name)
        )
        if args:
            found[slot] = args
    return found
