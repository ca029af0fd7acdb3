"""Where functions begin and end, what BTF calls them, and how many arguments they have.

Sources: add_subprogs and check_subprogs of kernel/bpf/verifier.c, kernel/bpf/check_btf.c, btf_prepare_func_args of
kernel/bpf/btf.c. Everything here looks at instructions one by one; no path is followed.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bpf import isa
from bpf.btf import GLOBAL, Btf, Kind
from bpf.insn import Insn
from bpf.program import Program
from verifier.refused import Refused

MAX_SUBPROGS = 256
TAIL_CALL = 12  # number of bpf_tail_call
UNKNOWN_NAME = "<unknown>"
_EXCEPTION_TAG = "exception_callback:"
_ARG_CNT_MOD = 16  # the kernel keeps the count in four bits


@dataclass(frozen=True, slots=True)
class Function:
    """A function as found, before any rewriting.

    start, end: half-open range of instruction indices. name: of BTF, "" without. type_id: its FUNC, 0 without.
    nargs: parameters in BTF, any number; 0 without BTF and for the main program (B.4).
    scalar_args: every parameter is an integer or enum, so that only its value can disappoint a caller.
    """

    index: int
    start: int
    end: int
    name: str = ""
    type_id: int = 0
    nargs: int = 0
    is_global: bool = False
    scalar_args: bool = False
    void: bool = False
    has_tail_call: bool = False
    has_ld_abs: bool = False
    is_exception_cb: bool = False

    @property
    def kind(self) -> str:
        """As the kernel's statistics call it."""
        return "main" if self.index == 0 else "global" if self.is_global else "static"

    @property
    def title(self) -> str:
        """Name in statistics, where functions without BTF have one too."""
        return self.name or UNKNOWN_NAME

    @property
    def arg_cnt(self) -> int:
        """Parameters as the kernel's four bits hold them: 16 are 0."""
        return self.nargs % _ARG_CNT_MOD

    @property
    def in_stack_args(self) -> int:
        """Incoming slots: bpf_in_stack_arg_cnt. More than 7 only for functions that are refused when called."""
        return max(self.arg_cnt - isa.MAX_REG_ARGS, 0)


class Layout:
    """All functions of a program, and which one an instruction belongs to. points: see `find_points`."""

    def __init__(self, functions: Sequence[Function], points: Sequence[int]) -> None:
        self.functions = tuple(functions)
        self.points = points
        self._starts = [f.start for f in self.functions]

    def at(self, insn: int) -> Function:
        """The function that instruction `insn` lies in."""
        return self.functions[bisect_right(self._starts, insn) - 1]

    def next_point(self, insn: int) -> int:
        """The first point from `insn` on; there is one, since functions end with one."""
        return self.points[bisect_left(self.points, insn)]

    def points_of(self, function: Function) -> Sequence[int]:
        """The points of one function."""
        return self.points[bisect_left(self.points, function.start) : bisect_left(self.points, function.end)]

    def starting_at(self, insn: int) -> Function:
        """The function whose first instruction is `insn`: the target of a call."""
        found = self.at(insn)
        assert found.start == insn
        return found


def is_bpf_call(insn: Insn) -> bool:
    """A call of a BPF function."""
    return insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL


def is_func_ref(insn: Insn) -> bool:
    """The address of a BPF function: first half of an ld_imm64."""
    return insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC


_JUMPS: Final = frozenset(
    code
    for code in range(256)
    if code & isa.CLASS_MASK in (isa.JMP, isa.JMP32)
    and code & isa.OP_MASK not in (isa.CALL, isa.EXIT)
    and code != isa.OP_GOTOX
)


# All jumps, calls, exits and ld_imm64s, but not the second slots of those.
_POINTS: Final = frozenset(
    code for code in range(1, 256) if code & isa.CLASS_MASK in (isa.JMP, isa.JMP32, isa.LD)
)


def find_points(insns: Sequence[Insn]) -> list[int]:
    """The few instructions that do more than go on to the next slot, or refer to something: all that structure is about."""
    return [at for at, insn in enumerate(insns) if insn.code in _POINTS]


def is_jump(insn: Insn) -> bool:
    """A jump of any kind within a function; its class alone decides, as in the kernel."""
    return insn.code in _JUMPS


def jump_target(insns: Sequence[Insn], at: int) -> int:
    """Where the jump at index `at` goes."""
    insn = insns[at]
    return isa.sext(at + 1 + (insn.imm if insn.code == isa.OP_GOTOL else insn.off), 32)


def check_func_info_records(program: Program) -> None:
    """prepare_btf_func: order and types of the func_info records, before functions are known."""
    previous = 0
    for number, info in enumerate(program.func_info):
        if program.btf is None:
            raise Refused("EBADF")
        if number == 0 and info.insn:
            raise Refused("EINVAL", f"nonzero insn_off {info.insn} for the first func info record")
        if number and info.insn <= previous:
            raise Refused(
                "EINVAL",
                f"same or smaller insn offset ({info.insn}) than previous func info record ({previous})",
                insn=info.insn,
            )
        types = program.btf.types
        if not info.type_id < len(types) or types[info.type_id].kind is not Kind.FUNC:
            raise Refused("EINVAL", f"invalid type id {info.type_id} in func info", insn=info.insn)
        previous = info.insn


def find_subprogs(program: Program, points: Sequence[int]) -> list[int]:
    """Sorted start indices: 0, all targets of calls and function addresses, and the exception callback.

    points: of the program, as `find_points` finds them.
    """
    insns = program.insns
    starts = {0}
    exception_cb = _exception_callback(program)
    if exception_cb is not None:
        starts.add(exception_cb)
    for at in points:
        insn = insns[at]
        if not is_bpf_call(insn) and not is_func_ref(insn):
            continue
        target = at + insn.imm + 1
        if not 0 <= target < len(insns):
            raise Refused("EINVAL", "call to invalid destination", insn=at)
        if target in starts:
            continue
        if len(starts) >= MAX_SUBPROGS:
            raise Refused("E2BIG", "too many subprograms", insn=at)
        starts.add(target)
    return sorted(starts)


def _exception_callback(program: Program) -> int | None:
    """Start of the function that a declaration tag of the main program names as its exception callback."""
    if program.btf is None or not program.func_info:
        return None
    btf = program.btf
    tags = [
        text.removeprefix(_EXCEPTION_TAG)
        for text, component in btf.decl_tags(program.func_info[0].type_id)
        if component == -1 and text.startswith(_EXCEPTION_TAG)
    ]
    if not tags:
        return None
    if len(tags) > 1:
        raise Refused("EEXIST", "multiple exception callback tags for main subprog")
    func = btf.find(tags[0], Kind.FUNC)
    if func is None:
        raise Refused("ENOENT", f"exception callback '{tags[0]}' could not be found in BTF")
    if btf.types[func].linkage != GLOBAL:
        raise Refused("EINVAL", f"exception callback '{tags[0]}' must have global linkage")
    starts = [info.insn for info in program.func_info if info.type_id == func]
    if not starts:
        raise Refused("EINVAL", "exception callback type id not found in func_info")
    if 0 in starts:
        raise Refused("EINVAL", "invalid exception callback insn_off in func_info: 0")
    return starts[-1]


def check_subprogs(insns: Sequence[Insn], starts: Sequence[int], points: Sequence[int]) -> list[Function]:
    """Jumps stay inside their function, and no function runs into the next one."""
    functions = []
    first = 0  # of the function's points
    for index, start in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) else len(insns)
        tail_call = ld_abs = False
        behind = bisect_left(points, end, first)
        for at in points[first:behind]:
            insn = insns[at]
            code = insn.code
            if code == isa.OP_CALL:
                tail_call |= insn.src == isa.HELPER_CALL and insn.imm == TAIL_CALL
            elif code & isa.CLASS_MASK == isa.LD:
                ld_abs |= insn.mode in (isa.ABS, isa.IND)
            elif code in _JUMPS and not start <= (target := jump_target(insns, at)) < end:
                raise Refused("EINVAL", f"jump out of range from insn {at} to {target}", insn=at)
        first = behind
        if insns[end - 1].code not in (isa.OP_EXIT, isa.OP_JA, isa.OP_GOTOL, isa.OP_GOTOX):
            raise Refused("EINVAL", "last insn is not an exit or jmp", insn=end - 1)
        functions.append(Function(index, start, end, has_tail_call=tail_call, has_ld_abs=ld_abs))
    return functions


def describe(program: Program, functions: Sequence[Function], points: Sequence[int]) -> Layout:
    """Joins functions and func_info, with the checks of bpf_check_btf_info."""
    infos = program.func_info
    if not infos:
        for function in functions[1:]:
            _refuse_abnormal_return(function, "not allowed in subprogs without BTF")
        check_line_info(program, functions)
        return Layout(functions, points)
    if len(infos) != len(functions):
        raise Refused("EINVAL", "number of funcs in func_info doesn't match number of subprogs")
    assert program.btf is not None
    named = []
    exception_cb = _exception_callback(program)
    for function, info in zip(functions, infos, strict=True):
        if function.start != info.insn:
            message = "func_info BTF section doesn't match subprog layout in BPF program"
            raise Refused("EINVAL", message, insn=info.insn)
        described = _describe(program.btf, function, info.type_id)
        if function.index and not _returns_int(program.btf, info.type_id):
            _refuse_abnormal_return(function, "only allowed in functions that return 'int'.")
        if exception_cb is not None and function.start == exception_cb:
            described = replace(described, is_exception_cb=True)
        named.append(described)
    check_line_info(program, named)
    return Layout(named, points)


def _refuse_abnormal_return(function: Function, why: str) -> None:
    if function.has_ld_abs:
        raise Refused("EINVAL", f"LD_ABS is {why}", insn=function.start)
    if function.has_tail_call:
        raise Refused("EINVAL", f"tail_call is {why}", insn=function.start)


def _describe(btf: Btf, function: Function, type_id: int) -> Function:
    func = btf.types[type_id]
    proto = btf.types[func.type]
    kinds = [btf.types[btf.resolve(tid)].kind for tid in {param.type for param in proto.params}]
    return Function(
        function.index,
        function.start,
        function.end,
        name=func.name,
        type_id=type_id,
        nargs=len(proto.params) if function.index else 0,
        is_global=btf.linkage(type_id) == GLOBAL,
        scalar_args=all(kind in (Kind.INT, Kind.ENUM, Kind.ENUM64) for kind in kinds),
        void=btf.resolve(proto.type) == 0,
        has_tail_call=function.has_tail_call,
        has_ld_abs=function.has_ld_abs,
    )


def _returns_int(btf: Btf, type_id: int) -> bool:
    """Whether the function returns an integer of at most 8 bytes, or an enum."""
    ret = btf.types[btf.resolve(btf.types[btf.types[type_id].type].type)]
    return ret.kind in (Kind.ENUM, Kind.ENUM64) or (ret.kind is Kind.INT and ret.size <= 8)


def check_line_info(program: Program, functions: Sequence[Function]) -> None:
    """check_btf_line: records rise, name real instructions, and every function starts with one."""
    waiting = list(functions)
    previous = 0
    size = len(program.insns)
    for number, info in enumerate(program.line_info):
        if (number and info.insn <= previous) or info.insn >= size:
            message = (
                f"Invalid line_info[{number}].insn_off:{info.insn} (prev_offset:{previous} prog->len:{size})"
            )
            raise Refused("EINVAL", message)
        if not program.insns[info.insn].code:
            raise Refused("EINVAL", f"Invalid insn code at line_info[{number}].insn_off", insn=info.insn)
        if waiting:
            if info.insn == waiting[0].start:
                waiting.pop(0)
            elif waiting[0].start < info.insn:
                raise Refused(
                    "EINVAL", f"missing bpf_line_info for func#{waiting[0].index}", insn=waiting[0].start
                )
        previous = info.insn
    if program.line_info and waiting:
        first = waiting[0].index
        raise Refused("EINVAL", f"missing bpf_line_info for {len(waiting)} funcs starting from func#{first}")
