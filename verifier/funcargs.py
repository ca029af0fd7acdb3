"""What a function's BTF says of its parameters, and whether a call fits it.

Sources: btf_prepare_func_args of kernel/bpf/btf.c; btf_check_func_arg_match, btf_check_subprog_call of
kernel/bpf/verifier.c; B.1 to B.3 of the rules for stack arguments.
"""

from typing import Final

from bpf import isa
from bpf.btf import Btf, BtfType, Kind
from bpf.errors import InputError
from bpf.progtypes import CONTEXTS
from verifier.callargs import CallMeta, check_func_arg_reg_off, check_reg_type
from verifier.diagnose import Callee
from verifier.dynptr import RefObj, process_dynptr_func
from verifier.env import Env, get_func_arg_reg, reg_arg_name
from verifier.found import SubprogInfo
from verifier.helpermem import check_mem_reg
from verifier.precision import mark_arg_precision
from verifier.refused import Refused
from verifier.regions import BPF_READ, BPF_WRITE
from verifier.regs import (
    MEM_RDONLY,
    PTR_MAYBE_NULL,
    PTR_TO_ARENA,
    PTR_TO_CTX,
    PTR_TO_PACKET,
    PTR_TO_PACKET_META,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
    SCALAR_VALUE,
    Reg,
)
from verifier.stackargs import check_outgoing_stack_args
from verifier.subprogs import UNKNOWN_NAME

_ARG_CNT_MOD: Final = 16  # the kernel keeps the count in four bits
_INTEGERS: Final = (Kind.INT, Kind.ENUM, Kind.ENUM64)
_TAG: Final = "arg:"
_TAGS: Final = frozenset({"ctx", "trusted", "untrusted", "nonnull", "nullable", "arena"})
# struct names that stand for the context as user space names it (btf_is_projection_of)
_PROJECTIONS: Final = {
    "__sk_buff": frozenset({"sk_buff"}),
    "xdp_md": frozenset({"xdp_buff"}),
    "bpf_user_pt_regs_t": frozenset({"pt_regs", "user_pt_regs"}),
}


class ArgInfo:
    """A parameter (struct bpf_subprog_arg_info). A value.

    kind: "ARG_ANYTHING" (a number), "ARG_PTR_TO_CTX", "ARG_PTR_TO_DYNPTR", "ARG_PTR_TO_MEM", "ARG_PTR_TO_BTF_ID" or
    "ARG_PTR_TO_ARENA". flags: PTR_MAYBE_NULL, ... mem_size: of memory. btf_id: kernel struct of a BTF pointer.
    """

    __slots__ = ("btf_id", "flags", "kind", "mem_size")

    def __init__(self, kind: str, flags: int = 0, mem_size: int = 0, btf_id: str = "") -> None:
        self.kind = kind
        self.flags = flags
        self.mem_size = mem_size
        self.btf_id = btf_id

    @property
    def btf(self) -> None:
        """Where btf_id belongs to: the kernel's types, as verifier/regs.py names them."""
        return


_ANYTHING: Final = ArgInfo("ARG_ANYTHING")
_NO_TAGS: Final = frozenset[str]()


class _Unusable(Exception):  # noqa: N818 # not an error: the BTF says nothing that can be checked
    def __init__(self, errno: str) -> None:
        super().__init__(errno)
        self.errno = errno


def btf_prepare_func_args(env: Env, subprogno: int) -> str:
    """Fills SubprogInfo.args and arg_cnt from BTF; "" or the errno of BTF that cannot be used, explained in the log."""
    sub = env.subprogs[subprogno]
    if sub.args_cached:
        return ""
    program = env.program
    if not program.func_info or program.btf is None:
        env.bug("func_info undefined")
    function = sub.function
    if not function.type_id:
        if not function.is_global:
            return "EINVAL"
        env.write("Global functions need valid BTF\n")
        return "EFAULT"
    if sub.unreliable:
        env.bug(f"unreliable BTF for function {function.name}()")
    try:
        args = _Reader(env, program.btf, sub).read()
    except _Unusable as no:
        return no.errno
    sub.args = args
    sub.args_cached = True
    return ""


class _Reader:
    """Reads one function's parameters."""

    def __init__(self, env: Env, btf: Btf, sub: SubprogInfo) -> None:
        self.env = env
        self.btf = btf
        self.sub = sub
        self.function = sub.function
        self.is_global = sub.function.is_global
        self.tags = btf.decl_tags(sub.function.type_id)

    def fail(self, errno: str, text: str = "") -> _Unusable:
        if text:
            self.env.write(text + "\n")
        return _Unusable(errno)

    def read(self) -> list[ArgInfo]:
        proto = self.btf.types[self.btf.types[self.function.type_id].type]
        self._count(len(proto.params))
        ret = self.btf.types[self.btf.resolve(proto.type)]
        if ret.kind is not Kind.VOID and ret.kind not in _INTEGERS:
            text = f"Global function {self.function.name}() return value not void or scalar. Only those are supported."
            raise self.fail("ENOTSUP", text if self.is_global else "")
        return [self._param(i, param.type) for i, param in enumerate(proto.params)]

    def _count(self, nargs: int) -> None:
        name = self.function.name
        self.sub.arg_cnt = nargs % _ARG_CNT_MOD
        if nargs > isa.MAX_FUNC_ARGS:
            limit = f"kernel supports at most {isa.MAX_FUNC_ARGS} parameters"
            raise self.fail("EFAULT", f"{limit}, function {name} has {nargs}")
        if nargs <= isa.MAX_REG_ARGS:
            return
        self.sub.stack_arg_cnt = nargs - isa.MAX_REG_ARGS
        if self.is_global:
            count = f"{nargs} > {isa.MAX_REG_ARGS} args"
            raise self.fail("EINVAL", f"global function {name} has {count}, stack args not supported")

    def _param(self, i: int, type_id: int) -> ArgInfo:
        tags = self._scan_tags(i)
        t = self.btf.types[self.btf.resolve(type_id)]
        if t.kind is Kind.PTR:
            found = self._pointer(i, t, tags)
            if found is not None:
                return found
        if tags:
            raise self.fail("EINVAL", f"arg#{i} has pointer tag, but is not a pointer type")
        if t.kind in _INTEGERS:
            return _ANYTHING
        text = f"Arg#{i} type {t.kind.name} in {self.function.name}() is not supported yet."
        raise self.fail("EINVAL", text if self.is_global else "")

    def _scan_tags(self, i: int) -> frozenset[str]:
        """Declaration tags of a parameter, which only global functions may have (btf_scan_decl_tags)."""
        if not self.tags:
            return _NO_TAGS
        found = []
        for text, component in self.tags:
            if component != i or not text.startswith(_TAG):
                continue
            if not self.is_global:
                raise self.fail("ENOTSUP", f"arg#{i} type tag is not supported in static functions")
            tag = text.removeprefix(_TAG)
            if tag not in _TAGS:
                raise self.fail("ENOTSUP", f"arg#{i} has unsupported set of tags")
            found.append(tag)
        return frozenset(found)

    def _pointer(self, i: int, t: BtfType, tags: frozenset[str]) -> ArgInfo | None:
        """A pointer of a kind that is known; None in a static function for all others."""
        target = self.btf.types[self.btf.resolve(t.type)]
        invalid = f"arg#{i} has invalid combination of tags"
        if "ctx" in tags or self._is_context(t.type, target):
            if tags - {"ctx"}:
                raise self.fail("EINVAL", invalid)
            return ArgInfo("ARG_PTR_TO_CTX")
        if target.kind in (Kind.STRUCT, Kind.FWD) and target.name == "bpf_dynptr":
            if tags:
                raise self.fail("EINVAL", invalid)
            return ArgInfo("ARG_PTR_TO_DYNPTR")
        if "trusted" in tags:
            if "nonnull" in tags:
                raise self.fail("EINVAL", invalid)
            null = PTR_MAYBE_NULL if "nullable" in tags else 0
            return ArgInfo("ARG_PTR_TO_BTF_ID", PTR_TRUSTED | null, btf_id=_essential(target.name))
        if "untrusted" in tags:
            return self._untrusted(i, target, tags)
        if "arena" in tags:
            if tags - {"arena"}:
                raise self.fail("EINVAL", f"arg#{i} arena cannot be combined with any other tags")
            return ArgInfo("ARG_PTR_TO_ARENA")
        if not self.is_global:
            return None
        if "nullable" in tags:
            raise self.fail("EINVAL", invalid)
        null = 0 if "nonnull" in tags else PTR_MAYBE_NULL
        return ArgInfo("ARG_PTR_TO_MEM", null, self._size(i, t.type, target))

    def _untrusted(self, i: int, target: BtfType, tags: frozenset[str]) -> ArgInfo:
        if tags - {"untrusted"}:
            raise self.fail("EINVAL", f"arg#{i} untrusted cannot be combined with any other tags")
        if target.kind in (Kind.VOID, *_INTEGERS):
            return ArgInfo("ARG_PTR_TO_MEM", MEM_RDONLY | PTR_UNTRUSTED)
        return ArgInfo("ARG_PTR_TO_BTF_ID", PTR_UNTRUSTED, btf_id=_essential(target.name))

    def _is_context(self, type_id: int, target: BtfType) -> bool:
        """btf_is_prog_ctx_type: the struct has the name of this program type's context."""
        context = CONTEXTS.get(self.env.prog_type, "")
        if not context:
            return False
        at = self.btf.types[type_id]
        while at.kind in (Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG):
            at = self.btf.types[at.type]
        if context == "bpf_user_pt_regs_t" and at.kind is Kind.TYPEDEF and at.name == context:
            return True
        if target.kind not in (Kind.STRUCT, Kind.UNION):
            return False
        return target.name == context or target.name in _PROJECTIONS.get(context, ())

    def _size(self, i: int, type_id: int, target: BtfType) -> int:
        try:
            if target.kind not in (Kind.VOID, Kind.FUNC, Kind.FUNC_PROTO, Kind.FWD):
                return self.btf.size_of(type_id)
        except InputError:
            pass
        kind = "UNKNOWN" if target.kind is Kind.VOID else target.kind.name
        what = f"arg#{i} reference type('{kind} {target.name if target.kind is not Kind.VOID else ''}')"
        raise self.fail("EINVAL", f"{what} size cannot be determined: -22")


def _essential(name: str) -> str:
    """A struct's name without its "flavor", which user space appends to tell its own versions of a struct apart."""
    return name.partition("___")[0]


# ---- calls


def btf_check_subprog_call(env: Env, subprogno: int) -> str:
    """Whether the call at hand fits the function's BTF: "" or an errno, explained in the log.

    A function that was called once in another way is "unreliable": its BTF is not asked again. EFAULT is fatal.
    """
    sub = env.subprogs[subprogno]
    if not env.program.func_info:
        return "EINVAL"
    if not sub.function.type_id:
        return "EFAULT"
    if sub.unreliable:
        if env.mode == "strict" and sub.in_stack_args:
            # Hole 1: the slots are asked for all the same.
            env.strict_acted = True
            check_outgoing_stack_args(env, sub.arg_cnt)
        return "EINVAL"
    try:
        errno = btf_prepare_func_args(env, subprogno)
        if not errno or sub.in_stack_args:
            check_outgoing_stack_args(
                env, sub.arg_cnt, callee=lambda: _callee(env, subprogno, named=not errno)
            )
        if not errno:
            for argno, info in enumerate(sub.args, 1):
                _check_arg(env, subprogno, argno, info, get_func_arg_reg(env, argno))
    except Refused as no:
        errno = no.errno
    sub.unreliable |= bool(errno)
    return errno


def _callee(env: Env, subprogno: int, *, named: bool) -> Callee:
    """Who is called, for what explains a missing argument; named: with its parameters' names."""
    function = env.subprogs[subprogno].function
    btf = env.program.btf
    if not named or btf is None:
        return Callee(function.name)
    proto = btf.types[btf.types[function.type_id].type]
    return Callee(function.name, tuple(param.name for param in proto.params))


def _check_arg(env: Env, subprogno: int, argno: int, info: ArgInfo, reg: Reg) -> None:
    """One argument against its parameter (btf_check_func_arg_match)."""
    if info is _ANYTHING and reg.type == SCALAR_VALUE:
        return
    name = reg_arg_name(argno)
    if info.kind == "ARG_ANYTHING":
        env.refuse("EINVAL", f"{name} is not a scalar")
    elif info.flags & PTR_UNTRUSTED:
        pass
    elif info.kind == "ARG_PTR_TO_CTX":
        check_func_arg_reg_off(env, reg, argno, info.kind, 0)
        if reg.type != PTR_TO_CTX:
            env.refuse("EINVAL", f"{name} expects pointer to ctx")
    elif info.kind == "ARG_PTR_TO_MEM":
        if reg.type in (PTR_TO_PACKET, PTR_TO_PACKET_META) and env.subprogs[subprogno].changes_pkt_data:
            env.refuse("EINVAL", f"{name} is a packet pointer, but func#{subprogno} may change packet data")
        _check_memory(env, argno, info, reg)
    elif info.kind == "ARG_PTR_TO_ARENA":
        if reg.type not in (PTR_TO_ARENA, SCALAR_VALUE):
            env.refuse("EINVAL", f"{name} is not a pointer to arena or scalar.")
    elif info.kind == "ARG_PTR_TO_DYNPTR":
        check_func_arg_reg_off(env, reg, argno, info.kind, 0)
        process_dynptr_func(env, reg, argno, -1, 0, RefObj(), None)
    elif reg.is_null and info.flags & PTR_MAYBE_NULL:
        mark_arg_precision(env, argno)
    else:
        check_reg_type(env, reg, argno, info.kind, info.flags, info.btf_id, CallMeta())
        check_func_arg_reg_off(env, reg, argno, info.kind, info.flags)


def _check_memory(env: Env, argno: int, info: ArgInfo, reg: Reg) -> None:
    check_func_arg_reg_off(env, reg, argno, "", 0)
    try:
        check_mem_reg(env, reg, -argno, info.mem_size, BPF_READ | BPF_WRITE, None)
    except Refused:
        # Whatever was wrong, the answer is the same.
        env.refuse("EINVAL")
    if not info.flags & PTR_MAYBE_NULL and (reg.type & PTR_MAYBE_NULL or reg.is_null):
        env.refuse("EINVAL", f"{reg_arg_name(argno)} is expected to be non-NULL")


def subprog_name(env: Env, subprogno: int) -> str:
    """bpf_subprog_name: of BTF, empty without."""
    name = env.subprogs[subprogno].function.name
    return "" if name == UNKNOWN_NAME else name
