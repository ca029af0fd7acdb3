"""What the main pass refuses whatever the values are: the part of its rules that needs no values.

For each function a data flow over all paths says what may be readable, what may be something else than a number, and
whether loads of stack arguments may still be allowed. The rules are then applied only to instructions that lie on
every path to an exit, and refuse only where no path satisfies them. So nothing is refused that the kernel accepts:
it goes at least one path to an exit, and that path breaks the rule. A program that breaks a rule on some paths only
is left to the abstract interpretation, which knows the paths that exist. The kernel may stop earlier for a reason
that only it sees; then the verdict is the same and its message another.

Static functions are entered at calls that lie on every path, with what the caller has. Functions whose BTF the kernel
may have stopped trusting ("unreliable", B.2 of the rules) are not asked about their stack arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpf import codec, isa
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.proto import FuncProto
from verifier.calls import Edge
from verifier.cfg import FunctionGraph, solve
from verifier.effects import clobbers, reads, writes
from verifier.refused import Refused
from verifier.subprogs import Function, Layout, is_bpf_call

# A state is one number of "may" bits, joined by or: registers 0..10 and outgoing slots 11..17, each
#   may hold something (from bit 0), may hold something that is no number (from bit 32), and
_SLOT0 = isa.MAX_BPF_REG
_OTHER = 32
# that a load of a stack argument may still be allowed.
_LOAD_OK = 1 << 20
_ALL_SLOTS = ((1 << isa.MAX_STACK_ARG_SLOTS) - 1) << _SLOT0
_EVERYTHING_OTHER = ((1 << (_SLOT0 + isa.MAX_STACK_ARG_SLOTS)) - 1) << _OTHER

_BUDGET = 2 * isa.MAX_INSNS  # instructions in all activations together; beyond it, functions are not entered
_SKB_TYPES = frozenset({"socket_filter", "sched_cls", "sched_act"})
_NO_RETURN_VALUE = frozenset({"lsm", "struct_ops", "tracing", "ext"})  # some of their programs return nothing
_GPL = frozenset(
    {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}
)


@dataclass(frozen=True, slots=True)
class Context:
    """What the rules look things up in. kfuncs: prototype by call instruction."""

    insns: Sequence[Insn]
    layout: Layout
    graphs: Sequence[FunctionGraph]
    edges: Sequence[Sequence[Edge]]
    kfuncs: Mapping[int, FuncProto]
    prog_type: str
    license: str


@dataclass(frozen=True, slots=True)
class Certain:
    """What every path of the program does. For each function the outgoing slots written, and those its calls need.

    entered: the functions that are verified at all. callbacks_pass_args: something below a callback needs slots, so
    that the main pass may have stopped there.
    """

    writes: tuple[int, ...]
    calls: tuple[int, ...]
    entered: frozenset[int]
    callbacks_pass_args: bool


def check_certain(context: Context) -> Certain:
    """Applies the rules. Raises Refused for the first certain violation, in the order in which paths meet them."""
    return _Walk(context).run()


def out_slots(context: Context, at: int) -> int:
    """Stack-argument slots that the call at `at` needs; 0 for what is no call."""
    insn = context.insns[at]
    if is_bpf_call(insn):
        return context.layout.starting_at(at + insn.imm + 1).in_stack_args
    proto = context.kfuncs.get(at)
    return max(len(proto.params) - isa.MAX_REG_ARGS, 0) if proto is not None else 0


class _Walk:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.insns = context.insns
        self.budget = _BUDGET
        self.below: dict[int, set[int]] = {}
        below_callbacks = self._reachable({e.target for some in context.edges for e in some if e.ref})
        self.suspects = set(below_callbacks)
        self.callbacks_pass_args = any(
            out_slots(context, at) for index in below_callbacks for at in context.graphs[index].succ
        )
        self.writes = [0] * len(context.graphs)
        self.calls = [0] * len(context.graphs)
        self.globals: list[Function] = []
        self.visited: set[tuple[int, int, int]] = set()

    def run(self) -> Certain:
        self._function(0, 1 << 1, 0)
        done = 0
        while done < len(self.globals):
            function = self.globals[done]
            self._function(function.index, (1 << (min(function.nargs, 5) + 1)) - 2, 0)
            done += 1
        entered = frozenset(index for index, _, _ in self.visited)
        return Certain(tuple(self.writes), tuple(self.calls), entered, self.callbacks_pass_args)

    def _reachable(self, roots: set[int]) -> set[int]:
        seen = set(roots)
        work = list(roots)
        while work:
            for edge in self.context.edges[work.pop()]:
                if edge.target not in seen:
                    seen.add(edge.target)
                    work.append(edge.target)
        return seen

    def _function(self, index: int, arguments: int, depth: int) -> None:
        """One activation. arguments: mask of the registers among r1..r5 that may hold something."""
        key = (index, arguments, depth)
        graph = self.context.graphs[index]
        if key in self.visited or self.budget < len(graph.succ):
            return
        self.visited.add(key)
        self.budget -= len(graph.succ)
        entry = arguments | 1 << isa.FP | _LOAD_OK | _EVERYTHING_OTHER
        function = graph.function

        def step(at: int, state: int) -> int:
            return self._after(function, at, state)

        states = solve(graph, entry, step, int.__or__)
        chain = graph.unavoidable
        for at in sorted(states.keys() - set(chain)):
            if is_bpf_call(self.insns[at]):
                callee = self._callee(at)
                self._suspect(callee, states[at])
                if callee.index not in self.below:
                    self.below[callee.index] = self._reachable({callee.index}) - {callee.index}
                self.suspects |= self.below[callee.index]
        for at in chain:
            self._check(function, at, states[at])
            if self.insns[at].is_call:
                self._check_call(function, at, states[at], depth)

    # ---- effect

    def _after(self, function: Function, at: int, state: int) -> int:
        insn = self.insns[at]
        if insn.cls in (isa.ST, isa.STX) and insn.dst == isa.REG_PARAMS:
            slot = isa.store_slot(insn.off)
            state &= ~_LOAD_OK
            if slot >= isa.MAX_STACK_ARG_SLOTS:
                return state
            other = state >> (_OTHER + insn.src) & 1 if insn.cls == isa.STX else 0
            return _set(state, _SLOT0 + slot, other=bool(other))
        if insn.is_call and insn.src == isa.PSEUDO_KFUNC_CALL and at not in self.context.kfuncs:
            return state  # number 0: the main pass goes on as if it were not there
        lost = clobbers(insn)
        state = state & ~lost | lost << _OTHER
        if insn.is_call:
            return self._after_call(function, at, insn, state)
        written = writes(insn)
        for register in range(isa.MAX_BPF_REG):
            if written >> register & 1:
                state = _set(state, register, other=self._other(insn, state))
        return state

    def _after_call(self, function: Function, at: int, insn: Insn, state: int) -> int:
        state = state & ~_ALL_SLOTS | _ALL_SLOTS << _OTHER
        if function.in_stack_args:
            state &= ~_LOAD_OK
        if insn.src == isa.HELPER_CALL:
            helper = HELPERS.get(insn.imm)
            kind = helper.ret.kind if helper is not None else "?"
            return state if kind == "RET_VOID" else _set(state, isa.R0, other=kind != "RET_INTEGER")
        proto = self.context.kfuncs.get(at)
        if proto is not None:
            return state if proto.ret.kind == "void" else _set(state, isa.R0, other=proto.ret.kind == "ptr")
        return _set(state, isa.R0, other=True)

    @staticmethod
    def _other(insn: Insn, state: int) -> bool:
        """Whether the result of an instruction may be no number."""

        def held(register: int) -> bool:
            return bool(state >> (_OTHER + register) & 1)

        from_register = bool(insn.code & isa.X)
        match insn.cls:
            case isa.ALU:
                return False
            case isa.ALU64 if insn.op in (isa.NEG, isa.END):
                return False
            case isa.ALU64 if insn.op == isa.MOV:
                return from_register and held(insn.src)
            case isa.ALU64:
                return held(insn.dst) or (from_register and held(insn.src))
            case isa.LDX | isa.STX:
                return insn.size >= 4
            case _:
                return insn.code == isa.LD_IMM64 and insn.src != 0

    # ---- check

    def _callee(self, at: int) -> Function:
        return self.context.layout.starting_at(at + self.insns[at].imm + 1)

    def _suspect(self, callee: Function, state: int) -> None:
        """The kernel stops to trust a function's BTF when one call does not fit it."""
        used = 0
        for number in range(1, callee.nargs + 1):
            used |= 1 << (number if number <= isa.MAX_REG_ARGS else _SLOT0 + number - 6)
        if not callee.scalar_args or state >> _OTHER & used:
            self.suspects.add(callee.index)

    def _check(self, function: Function, at: int, state: int) -> None:
        insn = self.insns[at]
        if (
            insn.cls == isa.LD
            and insn.mode in (isa.ABS, isa.IND)
            and self.context.prog_type not in _SKB_TYPES
        ):
            message = "BPF_LD_[ABS|IND] instructions not allowed for this program type"
            raise Refused("EINVAL", message, insn=at)
        problem = codec.operand_error(insn)
        if problem is not None and insn.cls == isa.STX:
            raise Refused("EINVAL", problem, insn=at)
        wanted = reads(insn)
        if insn.code == isa.OP_EXIT and not function.index and self.context.prog_type not in _NO_RETURN_VALUE:
            wanted = (isa.R0,)
        _check_readable(wanted, at, state)
        if problem is not None:
            raise Refused("EINVAL", problem, insn=at)
        if writes(insn) >> isa.FP & 1:
            raise Refused("EACCES", "frame pointer is read only", insn=at)
        if insn.cls == isa.LDX and insn.src == isa.REG_PARAMS:
            _check_load(function, at, insn.off, state)
        if insn.cls in (isa.ST, isa.STX) and insn.dst == isa.REG_PARAMS:
            slot = isa.store_slot(insn.off)
            if slot >= isa.MAX_STACK_ARG_SLOTS:
                message = (
                    f"stack arg write offset {insn.off} exceeds max {isa.MAX_STACK_ARG_SLOTS} stack args"
                )
                raise Refused("EINVAL", message, insn=at)
            self.writes[function.index] = max(self.writes[function.index], slot + 1)

    def _check_call(self, function: Function, at: int, state: int, depth: int) -> None:
        insn = self.insns[at]
        if insn.src == isa.HELPER_CALL:
            self._check_helper(at, insn.imm, state)
        elif at in self.context.kfuncs:
            _check_slots(len(self.context.kfuncs[at].params), at, state)
        elif insn.src == isa.PSEUDO_CALL:
            self._check_bpf_call(at, state, depth)
        self.calls[function.index] = max(self.calls[function.index], out_slots(self.context, at))

    def _check_helper(self, at: int, number: int, state: int) -> None:
        if not 0 <= number <= max(HELPERS):
            raise Refused("EINVAL", f"invalid func unknown#{number}", insn=at)
        helper = HELPERS.get(number)
        if helper is None:
            return
        if helper.gpl_only and self.context.license not in _GPL:
            message = "cannot call GPL-restricted function from non-GPL compatible program"
            raise Refused("EINVAL", message, insn=at)
        _check_readable(range(1, helper.nargs + 1), at, state)
        if any("FUNC" in arg.kind for arg in helper.args):
            self._check_callback(at, state)

    def _check_callback(self, at: int, state: int) -> None:
        """A callback with stack arguments needs them at the helper's call; asked only when there is no doubt which it is."""
        edges = [edge for some in self.context.edges for edge in some]
        targets = {edge.target for edge in edges if edge.ref}
        if len(targets) == 1 and sum(edge.target in targets for edge in edges) == 1:
            _check_slots(self.context.layout.functions[targets.pop()].arg_cnt, at, state)

    def _check_bpf_call(self, at: int, state: int, depth: int) -> None:
        callee = self._callee(at)
        too_many = callee.nargs > isa.MAX_FUNC_ARGS
        on_stack = callee.is_global and callee.nargs > isa.MAX_REG_ARGS
        first = []
        if too_many:
            limit = f"kernel supports at most {isa.MAX_FUNC_ARGS} parameters"
            first = [f"{limit}, function {callee.name} has {callee.nargs}"]
        elif on_stack:
            count = f"{callee.nargs} > {isa.MAX_REG_ARGS} args"
            first = [f"global function {callee.name} has {count}, stack args not supported"]
        if callee.is_global or callee.index not in self.suspects:
            _check_slots(callee.arg_cnt, at, state, first)
            if too_many:
                raise Refused("EFAULT", *first, insn=at)
        if on_stack:
            caller = f"Caller passes invalid args into func#{callee.index} ('{callee.name}')"
            raise Refused("EINVAL", *first, caller, insn=at)
        if callee.is_global:
            if callee not in self.globals:
                self.globals.append(callee)
            return
        self._suspect(callee, state)
        if depth + 1 >= isa.MAX_CALL_FRAMES:
            raise Refused("E2BIG", f"the call stack of {depth + 2} frames is too deep", insn=at)
        self._function(callee.index, state & 0b11_1110, depth + 1)


def _set(state: int, place: int, *, other: bool) -> int:
    """`place` holds something afterwards, on every path; whether it may be no number."""
    bit = 1 << place
    return state | bit | bit << _OTHER if other else (state | bit) & ~(bit << _OTHER)


def _check_readable(registers: Sequence[int], at: int, state: int) -> None:
    for register in registers:
        if not state >> register & 1:
            raise Refused("EACCES", f"R{register} !read_ok", insn=at)


def _check_load(function: Function, at: int, off: int, state: int) -> None:
    if not state & _LOAD_OK:
        raise Refused("EINVAL", "r11 load must be before any r11 store or call insn", insn=at)
    if isa.load_slot(off) + 1 > function.in_stack_args:
        message = f"invalid read from stack arg off {off} depth {8 * function.in_stack_args}"
        raise Refused("EACCES", message, insn=at)


def _check_slots(nargs: int, at: int, state: int, first: Sequence[str] = ()) -> None:
    """first: lines that the kernel has written before."""
    for slot in range(max(nargs - isa.MAX_REG_ARGS, 0)):
        if slot >= isa.MAX_STACK_ARG_SLOTS or not state >> (_SLOT0 + slot) & 1:
            message = f"callee expects {nargs} args, stack arg{slot + 1} is not initialized"
            raise Refused("EFAULT", *first, message, insn=at)
