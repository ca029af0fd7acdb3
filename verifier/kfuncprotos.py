"""What the arguments of kfuncs are: read off their C types and the endings of their names.

Sources: get_kfunc_arg_type, is_kfunc_arg_* and __btf_type_is_scalar_struct of kernel/bpf/verifier.c,
btf_is_prog_ctx_type of kernel/bpf/btf.c.
"""

from functools import cache
from typing import Final, Literal

from bpf.btf import Btf, Kind
from bpf.kfuncs import KFUNCS
from bpf.progtypes import CONTEXTS
from bpf.proto import CType, FuncProto
from verifier.kernelbtf import kernel_btf, known_structs

ArgKind = Literal[
    "ignore",
    "prog_aux",
    "const",
    "const_mem_size",
    "mem_size",
    "alloc_size",
    "anything",
    "ctx",
    "alloc_btf_id",
    "refcounted_kptr",
    "dynptr",
    "iter",
    "list_head",
    "list_node",
    "rb_root",
    "rb_node",
    "const_str",
    "const_map",
    "btf_id",
    "wq",
    "timer",
    "task_work",
    "irq_flag",
    "res_spin_lock",
    "callback",
    "arena",
    "mem",
    "fixed_mem",
]

# Pointers to these structs are what they are, whatever the parameter's name.
_BY_STRUCT: Final[dict[str, ArgKind]] = {
    "bpf_list_head": "list_head",
    "bpf_list_node": "list_node",
    "bpf_rb_root": "rb_root",
    "bpf_rb_node": "rb_node",
}
_BY_STRUCT_LATER: Final[dict[str, ArgKind]] = {
    "bpf_wq": "wq",
    "bpf_timer": "timer",
    "bpf_task_work": "task_work",
}
# Function pointers are written as void * in the table of kfuncs.
_CALLBACK_PARAMS: Final = frozenset({"less", "callback_fn", "callback"})
CALLBACK_KFUNCS: Final = frozenset(
    {
        "bpf_rbtree_add",
        "bpf_rbtree_add_impl",
        "bpf_wq_set_callback",
        "bpf_task_work_schedule_signal",
        "bpf_task_work_schedule_resume",
    }
)
_CTX_KFUNCS: Final = frozenset({"bpf_cast_to_kern_ctx", "bpf_session_is_return", "bpf_session_cookie"})
_ITER_FLAGS: Final = frozenset({"iter_new", "iter_next", "iter_destroy"})
# The kernel's side of a context may be asked for by either name (btf_is_projection_of).
PROJECTIONS: Final = frozenset({("__sk_buff", "sk_buff"), ("xdp_md", "xdp_buff")})
_MAX_NESTING: Final = 3
_SCALARS: Final = frozenset({"int", "bool", "enum"})


class KArg:
    """One parameter. kind: what it is; name: of the parameter. to: what a pointer points to; struct: its name if it is one.

    size: bytes behind the pointer where its type tells them, 0 elsewhere. scalar_struct: those bytes hold no pointers.
    """

    __slots__ = ("is_ptr", "kind", "name", "nullable", "scalar_struct", "size", "struct", "to")

    def __init__(self, name: str, kind: ArgKind, to: CType | None) -> None:
        self.name = name
        self.kind = kind
        self.to = to
        self.is_ptr = to is not None
        self.nullable = to is not None and name.endswith(("__nullable", "__arena"))
        self.struct = struct_name(to) if to is not None else ""
        self.size = 0
        self.scalar_struct = False

    @property
    def btf_kind(self) -> str:
        """Kind of what it points to, in messages (btf_type_str)."""
        assert self.to is not None
        return self.to.kind.upper()


def struct_name(ctype: CType) -> str:
    """Name of a struct or union without the keyword, "" for other types."""
    if ctype.kind not in ("struct", "union"):
        return ""
    return ctype.name.removeprefix("struct ").removeprefix("union ")


def no_size(ctype: CType) -> bool:
    """Whether nothing tells how many bytes such an object has: neither number nor struct."""
    return ctype.kind not in _SCALARS and not struct_name(ctype)


def describe(proto: FuncProto, prog_type: str, btf: Btf | None) -> list[KArg]:
    """The parameters of a kfunc as programs of this type may pass them. btf: the program's, for types only it knows."""
    kfunc = KFUNCS.get(proto.name)
    flags = kfunc.flags if kfunc is not None else frozenset()
    args = []
    for i, param in enumerate(proto.params):
        following = proto.params[i + 1].name if i + 1 < len(proto.params) else ""
        kind = _classify(proto.name, flags, i, param.name, param.type, following, prog_type)
        arg = KArg(param.name, kind, param.type.to)
        if arg.to is not None:
            _measure(arg, arg.to, btf)
        args.append(arg)
    return args


def _classify(
    func: str,
    flags: frozenset[str],
    index: int,
    name: str,
    ctype: CType,
    following: str,
    prog_type: str,
) -> ArgKind:
    if ctype.kind != "ptr":
        return "ignore" if name.endswith("__ign") else _scalar(name)
    assert ctype.to is not None
    struct = struct_name(ctype.to)
    if struct == "bpf_prog_aux":
        return "prog_aux"
    if name.endswith("__ign"):
        return "ignore"
    if func in _CTX_KFUNCS or is_prog_ctx(struct, prog_type):
        return "ctx"
    named = _by_name_or_struct(flags, index, name, struct)
    if named is not None:
        return named
    if func in CALLBACK_KFUNCS and name in _CALLBACK_PARAMS:
        return "callback"
    if name.endswith(("__arena", "__arena__nullable")):
        return "arena"
    if following.endswith(("__sz", "__szk")):
        return "mem"
    return "btf_id" if struct else "fixed_mem"


def _scalar(name: str) -> ArgKind:
    for ending, kind in (("__k", "const"), ("__szk", "const_mem_size"), ("__sz", "mem_size")):
        if name.endswith(ending):
            return kind  # type: ignore[return-value] # the literals of this tuple
    return "alloc_size" if name in ("rdonly_buf_size", "rdwr_buf_size") else "anything"


def _by_name_or_struct(flags: frozenset[str], index: int, name: str, struct: str) -> ArgKind | None:
    """The kinds that a name's ending or a struct decides, in the kernel's order."""
    if name.endswith("__alloc"):
        return "alloc_btf_id"
    if name.endswith("__refcounted_kptr"):
        return "refcounted_kptr"
    if struct == "bpf_dynptr":
        return "dynptr"
    if (index == 0 and flags & _ITER_FLAGS) or (not flags & _ITER_FLAGS and name.endswith("__iter")):
        return "iter"
    if struct in _BY_STRUCT:
        return _BY_STRUCT[struct]
    for ending, kind in (("__str", "const_str"), ("__const_map", "const_map"), ("__map", "btf_id")):
        if name.endswith(ending):
            return kind  # type: ignore[return-value] # the literals of this tuple
    if struct in _BY_STRUCT_LATER:
        return _BY_STRUCT_LATER[struct]
    if name.endswith("__irq_flag"):
        return "irq_flag"
    return "res_spin_lock" if struct == "bpf_res_spin_lock" else None


def is_prog_ctx(struct: str, prog_type: str) -> bool:
    """Whether a pointer to the struct is what programs of this type get in r1."""
    context = CONTEXTS.get(prog_type)
    return bool(struct) and context is not None and (struct == context or (context, struct) in PROJECTIONS)


def _measure(arg: KArg, to: CType, btf: Btf | None) -> None:
    if not arg.struct:
        arg.size = to.bits // 8 if to.kind in _SCALARS else 0
        arg.scalar_struct = False
        return
    arg.size, arg.scalar_struct = _layout(arg.struct)
    if not arg.size and btf is not None:
        tid = btf.find(arg.struct, Kind.STRUCT)
        if tid is not None:
            arg.size = btf.type(tid).size
            arg.scalar_struct = is_scalar_struct(btf, tid)


@cache
def _layout(struct: str) -> tuple[int, bool]:
    """Size of a struct of the kernel and whether it holds numbers only; (0, False) for those not listed."""
    if struct not in known_structs():
        return 0, False
    btf = kernel_btf()
    tid = btf.find(struct, Kind.STRUCT)
    if tid is None:
        return 0, False
    return btf.type(tid).size, is_scalar_struct(btf, tid)


def is_scalar_struct(btf: Btf, tid: int, depth: int = 0) -> bool:
    """A struct of numbers, of arrays of them, and of such structs, not nested too deep."""
    t = btf.type(btf.resolve(tid))
    if t.kind is not Kind.STRUCT:
        return False
    for member in t.members:
        inner = btf.type(btf.resolve(member.type))
        if inner.kind is Kind.STRUCT:
            if depth >= _MAX_NESTING or not is_scalar_struct(btf, member.type, depth + 1):
                return False
            continue
        if inner.kind is Kind.ARRAY:
            if not inner.count:
                return False
            inner = btf.type(btf.resolve(inner.type))
        if inner.kind not in (Kind.INT, Kind.ENUM, Kind.ENUM64):
            return False
    return True
