"""How many bytes a helper or kfunc reads or writes through an argument that points to the stack.

Source: bpf_helper_stack_access_bytes and bpf_kfunc_stack_access_bytes of kernel/bpf/verifier.c. Used before the main
pass, when only constants are known.
"""

from typing import TYPE_CHECKING, Final

from bpf import isa
from bpf.btf import Kind
from bpf.helpers import Arg
from bpf.insn import Insn
from bpf.kfuncs import KFUNCS, STRUCTS
from bpf.proto import CType
from verifier.availability import callable_helper
from verifier.constfold import MAP_PTR, State, known32

if TYPE_CHECKING:
    from verifier.env import Env

ANY: Final = -(1 << 63)  # an unknown number of bytes is read
_MAX_STACK: Final = isa.MAX_STACK
_DYNPTR_SIZE: Final = 16


def helper_bytes(env: "Env", constants: State, insn: Insn, argno: int) -> int:
    """Argument 1..5 of a helper: bytes read, negative if only written, 0 for none, ANY."""
    helper = callable_helper(env, insn.imm)
    if helper is None:
        return ANY
    if argno > len(helper.args):
        return ANY
    arg = helper.args[argno - 1]
    size = _helper_size(env, constants, helper.args, argno)
    if size in (0, ANY) or "MEM_UNINIT" not in arg.flags:
        return size
    return -size


def _helper_size(env: "Env", constants: State, args: tuple[Arg, ...], argno: int) -> int:
    arg = args[argno - 1]
    if arg.kind in ("ARG_PTR_TO_MAP_KEY", "ARG_PTR_TO_MAP_VALUE"):
        return _map_bytes(env, constants, args, argno, is_key=arg.kind == "ARG_PTR_TO_MAP_KEY")
    if arg.kind == "ARG_PTR_TO_MEM":
        if "MEM_FIXED_SIZE" in arg.flags:
            return arg.size
        if argno < len(args) and "MEM_SIZE" in args[argno].kind:
            known = known32(constants, argno + 1)
            if known is not None:
                return known
            return 0 if "MEM_UNINIT" in arg.flags else _MAX_STACK
        return ANY
    if arg.kind == "ARG_PTR_TO_DYNPTR":
        return _DYNPTR_SIZE
    return 0 if arg.kind == "ARG_PTR_TO_STACK" else ANY


def _map_bytes(env: "Env", constants: State, args: tuple[Arg, ...], argno: int, *, is_key: bool) -> int:
    number = next((i for i, arg in enumerate(args[: argno - 1], 1) if arg.kind == "ARG_CONST_MAP_PTR"), 0)
    held = constants[number] if number else None
    if held is not None and held[0] == MAP_PTR:
        known = env.maps[held[2]].spec
        return known.key_size if is_key else known.value_size
    size = max((used.spec.key_size if is_key else used.spec.value_size for used in env.maps), default=0)
    return size or ANY


def kfunc_bytes(env: "Env", constants: State, at: int, argno: int) -> int:
    """Argument 1..12 of a kfunc: as helper_bytes."""
    proto = env.kfuncs.get(at)
    if proto is None:
        return ANY
    if argno > len(proto.params):
        return 0
    param = proto.params[argno - 1]
    if param.type.kind != "ptr" or param.type.to is None:
        return 0
    nxt = proto.params[argno].name if argno < len(proto.params) else ""
    if param.type.to.name == "struct bpf_dynptr":
        size = _DYNPTR_SIZE
    elif nxt.endswith(("__sz", "__szk")):
        known = known32(constants, argno + 1) if argno + 1 < 10 else None
        if known is None:
            return _MAX_STACK
        size = known
    else:
        size = _pointed_size(env, param.type.to)
        if size < 0:
            return ANY
    kfunc = KFUNCS.get(proto.name)
    if (argno == 1 and kfunc is not None and "iter_new" in kfunc.flags) or param.name.endswith("__uninit"):
        return -size
    return size


def _pointed_size(env: "Env", ctype: CType) -> int:
    """As type_size; of a struct that is not listed, what the program's own BTF says."""
    size = type_size(ctype)
    btf = env.program.btf
    if size >= 0 or btf is None or ctype.kind != "struct":
        return size
    found = btf.find(ctype.name.split()[-1], Kind.STRUCT)
    return size if found is None else btf.type(found).size


def type_size(ctype: CType) -> int:
    """Bytes of a C type, -1 if it has none that is known (btf_resolve_size)."""
    if ctype.kind == "ptr":
        return 8
    if ctype.kind in ("struct", "union"):
        struct = STRUCTS.get(ctype.name.split()[-1])
        return -1 if struct is None else struct.size
    return ctype.bits // 8 if ctype.bits else -1
