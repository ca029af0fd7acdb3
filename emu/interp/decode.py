"""A program to ops: everything that the hot loop would otherwise have to look up, worked out once.

ops.py turns instructions to ops one by one; here is what depends on where an instruction stands: jumps, calls, the
two slots of ld_imm64, maps and functions. Never fails: what is wrong with an instruction stops the program there.
"""

from dataclasses import replace

from bpf import exceptions, isa
from bpf.errors import InputError
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.isa import U32, U64
from bpf.kfuncs import KFUNCS
from bpf.program import Program
from emu.interp import arena, calls, special
from emu.interp.layout import code_address, function_address
from emu.interp.ops import CALL_OUT, JA, LD64, checked, conditional, plain, stop_op
from emu.interp.state import Op, Stop, Unit
from emu.runtime.world import World

_POSITION_FREE = frozenset({isa.LDX, isa.ST, isa.STX, isa.ALU, isa.ALU64})


def decode(program: Program, world: World, in_arena: frozenset[int] = frozenset()) -> Unit:
    """The ops of `program`, whose maps are those of `world`. in_arena: its instructions that go through an arena."""
    unit = _Decoder(program, world).unit()
    pages = world.arena(program)
    if pages is None:
        return unit
    code = list(unit.code)
    for at, op in arena.ops(program.insns, pages, in_arena).items():
        if code[at][1] is not calls.stop:
            code[at] = op
    return replace(unit, code=tuple(code))


class _Decoder:
    def __init__(self, program: Program, world: World) -> None:
        self.program = program
        self.world = world
        self.insns = program.insns
        self.kfuncs = {ref.insn: ref.name for ref in program.kfuncs}
        self.functions = _functions(program)
        self.slots = _slots(program)
        self.wild: list[Op] = []

    def unit(self) -> Unit:
        code: list[Op] = []
        while len(code) < len(self.insns):
            insn = self.insns[len(code)]
            if insn.code & isa.CLASS_MASK in _POSITION_FREE:
                code.append(plain(insn))
                continue
            try:
                code.append(self._op(len(code), insn))
            except Stop as why:
                code.append(stop_op(why.kind, why.why))
            if code[-1][0] == LD64:
                code.append(stop_op("opcode", "a jump into the middle of ld_imm64"))
        last = len(self.insns) - 1
        code.append(stop_op("fetch", "control runs past the last instruction", last if last >= 0 else None))
        return Unit(self.program, (*code, *self.wild), self.functions, self.slots)

    def _op(self, at: int, insn: Insn) -> Op:
        if insn.cls == isa.LD:
            return self._ld(at, insn)
        if insn.op not in (isa.JA, isa.CALL, isa.EXIT, isa.JCOND):
            return (*conditional(insn)[:4], self._target(at, insn.off))
        checked(insn)
        match insn.code:
            case isa.OP_JA:
                return (JA, None, None, None, self._target(at, insn.off))
            case isa.OP_GOTOL:
                return (JA, None, None, None, self._target(at, insn.imm))
            case isa.OP_CALL:
                return self._call(at, insn)
            case isa.OP_EXIT:
                return (CALL_OUT, calls.leave, None, None, None)
            case isa.OP_MAY_GOTO:
                if not self._counts(at):
                    return (JA, None, None, None, self._target(at, insn.off))
                return (CALL_OUT, special.may_goto, self._target(at, insn.off), None, None)
            case _:
                assert insn.code == isa.OP_GOTOX
                return (CALL_OUT, special.indirect_jump, insn.dst, self._targets(), None)

    def _counts(self, at: int) -> bool:
        """Whether the may_goto at `at` counts a round. One that jumps over nothing does not exist for the kernel."""
        over = range(at + 1, min(at + 1 + self.insns[at].off, len(self.insns)))
        for slot in reversed(over):
            insn = self.insns[slot]
            if insn.code == isa.OP_MAY_GOTO:
                if self._counts(slot):
                    return True
            elif insn.code != isa.OP_JA or insn.off or slot == over[-1]:
                return True
        return self.insns[at].off < 0

    def _targets(self) -> dict[int, int]:
        """Where a gotox may go, by what the jump tables hold."""
        named = {target for table in self.world.jump_tables() for target in table.targets}
        return {code_address(target): target for target in named if target < len(self.insns)}

    def _target(self, at: int, by: int) -> int:
        """Index of the op to go on with after a jump from `at`."""
        to = at + 1 + by
        if 0 <= to < len(self.insns):
            return to
        why = f"a jump to instruction {to}, the program has {len(self.insns)}"
        self.wild.append(stop_op("fetch", why, at))
        return len(self.insns) + len(self.wild)

    def _ld(self, at: int, insn: Insn) -> Op:
        second = self.insns[at + 1] if at + 1 < len(self.insns) else None
        if checked(insn, second).wide:
            if second is None:
                raise Stop("opcode", "the second half of ld_imm64 is missing")
            return (LD64, insn.dst, None, self._wide_value(at, insn, second.imm) & U64, None)
        src = insn.src if insn.mode == isa.IND else None
        return (CALL_OUT, special.load_packet, src, insn.imm, insn.size)

    def _wide_value(self, at: int, insn: Insn, high: int) -> int:
        try:
            match insn.src:
                case isa.PSEUDO_MAP_FD | isa.PSEUDO_MAP_IDX:
                    return self.world.map_pointer(insn.imm)
                case isa.PSEUDO_MAP_VALUE | isa.PSEUDO_MAP_IDX_VALUE:
                    return self.world.map_value(insn.imm, high & U32)
                case isa.PSEUDO_FUNC:
                    return function_address(self._function(at + 1 + insn.imm))
                case isa.PSEUDO_BTF_ID:
                    return self.world.variable(insn.imm)
                case _:
                    return insn.imm & U32 | (high & U32) << 32
        except InputError as error:
            raise Stop("opcode", f"{error.where}: {error.why}") from None

    def _function(self, start: int) -> int:
        if not 0 <= start < len(self.insns):
            raise Stop("call", f"no function at instruction {start}, the program has {len(self.insns)}")
        return start

    def _call(self, at: int, insn: Insn) -> Op:
        if insn.src == isa.PSEUDO_CALL:
            start = self._function(at + 1 + insn.imm)
            slots = self.slots.get(start, isa.MAX_STACK_ARG_SLOTS)
            return (CALL_OUT, calls.call_function, start, slots, None)
        if insn.src == isa.PSEUDO_KFUNC_CALL:
            return self._kfunc_call(at)
        helper = HELPERS.get(insn.imm)
        if helper is None:
            raise Stop("call", f"there is no helper {insn.imm}")
        if helper.name == "bpf_tail_call":
            return (CALL_OUT, calls.tail_call, None, None, None)
        return (CALL_OUT, calls.call_helper, helper, None, None)

    def _kfunc_call(self, at: int) -> Op:
        name = self.kfuncs.get(at)
        if name is None:
            raise Stop("call", "the program does not name the kfunc that is called here")
        kfunc = KFUNCS.get(name)
        if kfunc is None:
            raise Stop("call", f"kfunc {name} is not implemented")
        proto = kfunc.proto
        if len(proto.params) > isa.MAX_FUNC_ARGS:
            raise Stop("call", f"{name} has more than {isa.MAX_FUNC_ARGS} parameters")
        if name == calls.THROW:
            return (CALL_OUT, calls.throw, kfunc, exceptions.callback(self.program), None)
        handler = calls.call_with_pages if calls.in_arena(kfunc) else calls.call_kfunc
        return (CALL_OUT, handler, kfunc, len(proto.params), proto.ret.kind == "void")


def _functions(program: Program) -> tuple[int, ...]:
    """Start of every function: what is called, what an ld_imm64 names, what has func_info."""
    starts = {0} | {info.insn for info in program.func_info}
    for at, insn in enumerate(program.insns):
        called = insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL
        named = insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC
        if called or named:
            starts.add(at + 1 + insn.imm)
    return tuple(sorted(start for start in starts if 0 <= start < len(program.insns)))


def _slots(program: Program) -> dict[int, int]:
    """Stack arguments of each function that has a prototype."""
    slots = {}
    if program.btf is not None:
        for info in program.func_info:
            try:
                params = program.btf.arity(info.type_id)
            except InputError:
                continue  # no prototype to go by; the verifier says what is wrong with it
            slots[info.insn] = min(max(params - isa.MAX_REG_ARGS, 0), isa.MAX_STACK_ARG_SLOTS)
    return slots
