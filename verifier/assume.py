"""`assume`: a program that nobody verified, in the form of one that was, so that it can be compiled and run.

Takes the checks that need no path, and estimates where the main pass would know.
"""

from collections.abc import Mapping, Sequence

from bpf import isa
from bpf.errors import InputError
from bpf.helpers import HELPERS
from bpf.program import Program
from bpf.proto import FuncProto
from bpf.verified import Verified
from verifier import fixups, subprogs
from verifier.facts import Facts
from verifier.liveregs import narrow_writes
from verifier.refused import Refused
from verifier.stackdepth import StackUse, stack_use
from verifier.structure import (
    Progress,
    Structure,
    check_unresolved_kfuncs,
    counters,
    find_structure,
    list_subprogs,
    make_verified,
)


def assume(program: Program) -> Verified:
    """`program` as if it had been accepted, for running what the verifier refuses. Nothing about it is certain.

    A function's outgoing area holds every slot that its calls require and every slot that it writes. Raises InputError
    when the program has no structure that could be compiled: a jump out of range, an invalid instruction, ...
    """
    try:
        structure = find_structure(program, Progress())
        uses = stack_use(
            program.insns,
            structure.layout,
            structure.graphs,
            structure.edges,
            _pointer_args(program, structure.kfuncs),
        )
        check_unresolved_kfuncs(program, structure, set(structure.graphs[0].unavoidable).__contains__)
        rewritten = fixups.rewrite(program, structure.layout, _facts(program, structure, uses))
    except Refused as no:
        where = "" if no.insn is None else f"insn {no.insn}"
        raise InputError(program.name, where, f"cannot run, verified or not: {no.messages[-1]}") from None
    slots = [
        max(required, written)
        for required, written in zip(
            _required_slots(program, structure), _written_slots(program, structure), strict=True
        )
    ]
    listed = list_subprogs(structure, slots, rewritten, None)
    return make_verified(program, structure, listed, rewritten, "", counters(None), 0)


def _required_slots(program: Program, structure: Structure) -> list[int]:
    """For each function the most outgoing slots that one of its calls needs (bpf_out_stack_arg_cnt)."""
    return [max((_out_slots(program, structure, at) for at in g.succ), default=0) for g in structure.graphs]


def _out_slots(program: Program, structure: Structure, at: int) -> int:
    """Stack-argument slots that the call at `at` needs; 0 for what is no call."""
    insn = program.insns[at]
    if subprogs.is_bpf_call(insn):
        return structure.layout.starting_at(at + insn.imm + 1).in_stack_args
    proto = structure.kfuncs.get(at)
    return max(len(proto.params) - isa.MAX_REG_ARGS, 0) if proto is not None else 0


def _written_slots(program: Program, structure: Structure) -> list[int]:
    """For each function the deepest outgoing slot that one of its instructions writes, plus one."""
    return [
        min(
            max(
                (
                    isa.store_slot(insn.off) + 1
                    for insn in program.insns[f.start : f.end]
                    if isa.is_stack_arg_store(insn.code, insn.dst, insn.off)
                ),
                default=0,
            ),
            isa.MAX_STACK_ARG_SLOTS,
        )
        for f in structure.layout.functions
    ]


def _pointer_args(program: Program, kfuncs: Mapping[int, FuncProto]) -> dict[int, frozenset[int]]:
    """Numbers of the arguments that helpers and kfuncs take as pointers, by call instruction."""
    found = {
        at: frozenset(k for k, param in enumerate(proto.params, 1) if param.type.kind == "ptr")
        for at, proto in kfuncs.items()
    }
    for at, insn in enumerate(program.insns):
        if insn.is_call and insn.src == isa.HELPER_CALL and insn.imm in HELPERS:
            args = HELPERS[insn.imm].args
            found[at] = frozenset(k for k, arg in enumerate(args, 1) if "PTR" in arg.kind)
    return found


def _facts(program: Program, structure: Structure, uses: Sequence[StackUse]) -> Facts:
    """What is known without the main pass: any instruction may be reached."""
    return Facts(
        program.insns,
        (True,) * len(program.insns),
        depths=tuple(use.depth for use in uses),
        narrow=narrow_writes(program.insns, structure.flow),
    )
