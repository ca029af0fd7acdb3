"""Prototypes of the kfuncs that a program calls, and what the kernel refuses about them before the main pass.

Source: bpf_add_kfunc_call and get_kfunc_arg_type of kernel/bpf/verifier.c, btf_distill_func_proto of kernel/bpf/btf.c (B.5 of the rules).
"""

from collections.abc import Mapping, Sequence

from bpf import isa
from bpf.btf import Kind
from bpf.errors import InputError
from bpf.kfuncs import KFUNCS
from bpf.program import KfuncRef, Program
from bpf.proto import FuncProto
from verifier.arena import arena_user, is_arena_param
from verifier.kfuncprotos import describe, no_size
from verifier.refused import Refused

THROW = "bpf_throw"


def resolve_kfuncs(program: Program, points: Sequence[int]) -> Mapping[int, FuncProto]:
    """Prototype by instruction index of every kfunc call that names one. points: where calls may be.

    Raises Refused as the kernel would; InputError when a named kfunc has no prototype anywhere.
    """
    named = {ref.insn: ref for ref in program.kfuncs}
    protos: dict[int, FuncProto] = {}
    for at in points:
        insn = program.insns[at]
        if insn.code != isa.OP_CALL or insn.src != isa.PSEUDO_KFUNC_CALL:
            continue
        ref = named.get(at)
        if ref is not None:
            proto = find_prototype(program, ref)
            _check_prototype(proto, at)
            _check_pointers(program, proto, at)
            _check_arena_args(program, proto, at)
            protos[at] = proto
        elif insn.imm or insn.off:
            raise _unresolved(insn.imm, insn.off, at)
    return protos


def find_prototype(program: Program, ref: KfuncRef) -> FuncProto:
    """The kernel's prototype of a kfunc; of one that is not in our table, the program's own declaration."""
    known = KFUNCS.get(ref.name)
    if known is not None:
        return known.proto
    if program.btf is not None:
        type_id = program.btf.find(ref.name, Kind.FUNC)
        if type_id is not None:
            return program.btf.prototype(type_id)
    raise InputError(
        program.name, f"insn {ref.insn}", f"kfunc {ref.name} is neither known nor declared in BTF"
    )


def _unresolved(imm: int, off: int, at: int) -> Refused:
    """A call by number: no request can know the numbers of our kernel's BTF."""
    no_btf = "failed to find BTF for kernel function"
    if off > 0:
        return Refused("EPROTO", "kfunc offset > 0 without fd_array is invalid", no_btf, insn=at)
    if off < 0:
        return Refused(
            "EINVAL", "negative offset disallowed for kernel module function call", no_btf, insn=at
        )
    return Refused("EINVAL", f"kernel btf_id {imm & isa.U32} is not a function", insn=at)


def _check_prototype(proto: FuncProto, at: int) -> None:
    count = len(proto.params)
    if count > isa.MAX_FUNC_ARGS:
        message = f"The function {proto.name} has {count} arguments. Too many."
        raise Refused("EINVAL", message, insn=at)
    for index, param in enumerate(proto.params):
        if param.type.kind in ("struct", "union", "float", "void"):
            message = f"Unrecognized {arg_name(index)} type {param.type.kind.upper()}"
            raise Refused("EINVAL", message, insn=at)


def _check_pointers(program: Program, proto: FuncProto, at: int) -> None:
    """What a pointer without a length leads to has a length of its own (get_kfunc_arg_type)."""
    odd = [i for i, param in enumerate(proto.params) if param.type.to is not None and no_size(param.type.to)]
    if not odd:
        return
    args = describe(proto, program.prog_type, program.btf)
    for index in odd:
        if args[index].kind == "fixed_mem":
            what = "UNKNOWN" if args[index].btf_kind == "VOID" else args[index].btf_kind
            message = f"{arg_name(index)} pointer type {what}  must point to scalar, or struct with scalar"
            raise Refused("EINVAL", message, insn=at)


def _check_arena_args(program: Program, proto: FuncProto, at: int) -> None:
    """Addresses in an arena are turned into the kernel's in front of the call, where they are in registers."""
    for index, param in enumerate(proto.params):
        if not is_arena_param(param.name):
            continue
        if arena_user(program) is None:
            message = f"{arg_name(index)} arena pointer requires a program with an associated arena"
            raise Refused("EINVAL", message, insn=at)
        if index >= isa.MAX_REG_ARGS:
            message = f"{arg_name(index)} arena pointer cannot be a stack argument"
            raise Refused("EINVAL", message, insn=at)


def arg_name(index: int) -> str:
    """How messages call argument `index`, counted from 0: R1..R5, then *(R11-8), *(R11-16), ..."""
    if index < isa.MAX_REG_ARGS:
        return f"R{index + 1}"
    return f"*(R11-{8 * (index - isa.MAX_REG_ARGS + 1)})"
