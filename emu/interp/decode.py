"""A program to ops: what the hot loop dispatches on, worked out once.

    op = (kind, a, b, c, e)      what the fields mean stands beside each kind

Whatever is wrong with an instruction becomes an op that stops the program when it is reached, so that decoding
never fails and the loop need not look. Kinds are ordered as the loop tests them.
"""

from collections.abc import Callable
from struct import Struct

from bpf import isa
from bpf.errors import InputError
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.isa import U32, U64
from bpf.kfuncs import KFUNCS
from bpf.opcodes import Form, form_of
from bpf.program import Program
from emu.interp import alu, atomics, calls, special
from emu.interp.layout import function_address
from emu.interp.state import Op, Stop, Unit
from emu.runtime.world import World

ADD_K = 0  # dst, -, value
MOV_X = 1  # dst, src
LDX = 2  # dst, src, off, (last offset in a stack at which it fits, unpack, size)
STX = 3  # dst, src, off, (last offset as above, pack, size, mask)
JEQ_K = 4  # dst, -, value, target
JNE_K = 5  # dst, -, value, target
ALU_K = 6  # dst, -, value, function
ALU_X = 7  # dst, src, -, function
ADD_X = 8  # dst, src
MOV_K = 9  # dst, -, value
JMP_K = 10  # dst, function, value, target
JMP_X = 11  # dst, src, function, target
JA = 12  # -, -, -, target
LD64 = 13  # dst, -, value; takes two slots
ST = 14  # dst, -, off, (last offset, pack, size, value)
LOAD_ARG = 15  # dst, slot
STORE_ARG = 16  # slot, src
STORE_ARG_K = 17  # slot, -, value
LDSX = 18  # as LDX, with a signed unpack
CALL_OUT = 19  # handler(machine, frame, op) -> frame | None; b, c, e are the handler's own

_PACK = {size: Struct(f"<{letter}") for size, letter in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))}
_SIGNED = {size: Struct(f"<{letter}") for size, letter in ((1, "b"), (2, "h"), (4, "i"))}


def decode(program: Program, world: World) -> Unit:
    """The ops of `program`, whose maps are those of `world`."""
    return _Decoder(program, world).unit()


class _Decoder:
    def __init__(self, program: Program, world: World) -> None:
        self.program = program
        self.world = world
        self.insns = program.insns
        self.kfuncs = {ref.insn: ref.name for ref in program.kfuncs}
        self.functions = _functions(program)
        self.slots = _slots(program)
        self.wild: list[Op] = []
        self.classes: dict[int, Callable[[int, Insn], Op]] = {
            isa.LD: self._ld,
            isa.LDX: self._ldx,
            isa.ST: self._st,
            isa.STX: self._stx,
            isa.ALU: self._alu,
            isa.ALU64: self._alu,
            isa.JMP: self._jump,
            isa.JMP32: self._jump,
        }

    def unit(self) -> Unit:
        code: list[Op] = []
        while len(code) < len(self.insns):
            try:
                code.append(self._op(len(code)))
            except Stop as why:
                code.append(_stop(why.kind, why.why))
            if code[-1][0] == LD64:
                code.append(_stop("opcode", "a jump into the middle of ld_imm64"))
        last = len(self.insns) - 1
        code.append(_stop("fetch", "control runs past the last instruction", last if last >= 0 else None))
        return Unit(self.program, (*code, *self.wild), self.functions, self.slots)

    def _op(self, at: int) -> Op:
        insn = self.insns[at]
        nxt = self.insns[at + 1] if at + 1 < len(self.insns) else None
        form = form_of(insn, nxt)
        if form is None:
            raise Stop("opcode", "no instruction has this opcode with these fields")
        if not form.loadable and form.code != isa.OP_NOSPEC:
            raise Stop("opcode", "no program may contain this instruction")
        _check_registers(insn, form)
        if form.wide:
            return self._ld_imm64(at, insn, nxt)
        return self.classes[insn.cls](at, insn)

    def target(self, at: int, to: int) -> int:
        """Index of the op to go on with after a jump from `at`."""
        if 0 <= to < len(self.insns):
            return to
        why = f"a jump to instruction {to}, the program has {len(self.insns)}"
        self.wild.append(_stop("fetch", why, at))
        return len(self.insns) + len(self.wild)

    # ---- loads of constants and of the packet

    def _ld_imm64(self, at: int, insn: Insn, second: Insn | None) -> Op:
        if second is None:
            raise Stop("opcode", "the second half of ld_imm64 is missing")
        return (LD64, insn.dst, None, self._wide_value(at, insn, second.imm) & U64, None)

    def _wide_value(self, at: int, insn: Insn, high: int) -> int:
        match insn.src:
            case isa.PSEUDO_MAP_FD | isa.PSEUDO_MAP_IDX:
                return self.world.map_pointer(self._map_index(insn.imm))
            case isa.PSEUDO_MAP_VALUE | isa.PSEUDO_MAP_IDX_VALUE:
                return self._value(self._map_index(insn.imm), high & U32)
            case isa.PSEUDO_FUNC:
                return function_address(self._function(at + 1 + insn.imm))
            case isa.PSEUDO_BTF_ID:
                raise Stop("internal", "variables of the kernel do not exist here")
            case _:
                return insn.imm & U32 | (high & U32) << 32

    def _value(self, index: int, off: int) -> int:
        try:
            return self.world.map_value(index, off)
        except InputError as error:
            raise Stop("opcode", error.why) from None

    def _map_index(self, index: int) -> int:
        if not 0 <= index < len(self.program.maps):
            raise Stop("opcode", f"no map {index}, the program has {len(self.program.maps)}")
        return index

    def _function(self, start: int) -> int:
        if not 0 <= start < len(self.insns):
            raise Stop("call", f"no function at instruction {start}, the program has {len(self.insns)}")
        return start

    def _ld(self, _at: int, insn: Insn) -> Op:
        src = insn.src if insn.mode == isa.IND else None
        return (CALL_OUT, special.load_packet, src, insn.imm, insn.size)

    # ---- arithmetic

    def _alu(self, _at: int, insn: Insn) -> Op:
        wide = insn.cls == isa.ALU64
        if insn.op == isa.END:
            swap = wide or insn.code & isa.TO_BE
            return (ALU_K, insn.dst, None, 0, (alu.SWAP if swap else alu.TO_LE)[insn.imm])
        if insn.op == isa.NEG:
            return (ALU_K, insn.dst, None, 0, alu.NEG64 if wide else alu.NEG32)
        function = _move(insn, wide) if insn.op == isa.MOV else _binary(insn, wide)
        if insn.code & isa.X:
            plain = wide and insn.off == 0
            if plain and insn.op in (isa.MOV, isa.ADD):
                return (MOV_X if insn.op == isa.MOV else ADD_X, insn.dst, insn.src, None, None)
            return (ALU_X, insn.dst, insn.src, None, function)
        value = insn.imm & U64
        if insn.op == isa.MOV:
            return (MOV_K, insn.dst, None, value if wide else value & U32, None)
        if insn.op == isa.ADD and wide:
            return (ADD_K, insn.dst, None, value, None)
        return (ALU_K, insn.dst, None, value, function)

    # ---- memory

    def _ldx(self, _at: int, insn: Insn) -> Op:
        if insn.src == isa.REG_PARAMS:
            return (LOAD_ARG, insn.dst, isa.load_slot(insn.off), None, None)
        size = insn.size
        signed = insn.mode == isa.MEMSX
        how = (isa.MAX_STACK - size, (_SIGNED if signed else _PACK)[size].unpack_from, size)
        return (LDSX if signed else LDX, insn.dst, insn.src, insn.off, how)

    def _st(self, _at: int, insn: Insn) -> Op:
        if insn.code == isa.OP_NOSPEC:
            return (CALL_OUT, special.no_operation, None, None, None)
        if insn.dst == isa.REG_PARAMS:
            return (STORE_ARG_K, _out_slot(insn.off), None, insn.imm & U64, None)
        size = insn.size
        how = (isa.MAX_STACK - size, _PACK[size].pack_into, size, insn.imm & ((1 << 8 * size) - 1))
        return (ST, insn.dst, None, insn.off, how)

    def _stx(self, _at: int, insn: Insn) -> Op:
        if insn.mode == isa.ATOMIC:
            handler = atomics.HANDLERS.get(insn.imm, atomics.read_modify_write)
            return (CALL_OUT, handler, insn.dst, insn.src, (insn.off, insn.size, insn.imm))
        if insn.dst == isa.REG_PARAMS:
            return (STORE_ARG, _out_slot(insn.off), insn.src, None, None)
        size = insn.size
        how = (isa.MAX_STACK - size, _PACK[size].pack_into, size, (1 << 8 * size) - 1)
        return (STX, insn.dst, insn.src, insn.off, how)

    # ---- jumps and calls

    def _jump(self, at: int, insn: Insn) -> Op:
        match insn.code:
            case isa.OP_JA:
                return (JA, None, None, None, self.target(at, at + 1 + insn.off))
            case isa.OP_GOTOL:
                return (JA, None, None, None, self.target(at, at + 1 + insn.imm))
            case isa.OP_CALL:
                return self._call(at, insn)
            case isa.OP_EXIT:
                return (CALL_OUT, calls.leave, None, None, None)
            case isa.OP_MAY_GOTO:
                return (CALL_OUT, special.may_goto, self.target(at, at + 1 + insn.off), None, None)
            case isa.OP_GOTOX:
                raise Stop("internal", "jump tables are not supported")
            case _:
                return self._conditional(at, insn)

    def _conditional(self, at: int, insn: Insn) -> Op:
        wide = insn.cls == isa.JMP
        condition = (alu.JMP64 if wide else alu.JMP32)[insn.op]
        target = self.target(at, at + 1 + insn.off)
        if insn.code & isa.X:
            return (JMP_X, insn.dst, insn.src, condition, target)
        if wide and insn.op in (isa.JEQ, isa.JNE):
            return (JEQ_K if insn.op == isa.JEQ else JNE_K, insn.dst, None, insn.imm & U64, target)
        return (JMP_K, insn.dst, condition, insn.imm & U64, target)

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
            raise Stop("call", f"there is no kfunc {name}")
        proto = kfunc.proto
        if len(proto.params) > isa.MAX_FUNC_ARGS:
            raise Stop("call", f"{name} has more than {isa.MAX_FUNC_ARGS} parameters")
        return (CALL_OUT, calls.call_kfunc, kfunc, len(proto.params), proto.ret.kind == "void")


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
                params = len(program.btf.prototype(info.type_id).params)
            except InputError:
                continue  # no prototype to go by; the verifier says what is wrong with it
            slots[info.insn] = min(max(params - isa.MAX_REG_ARGS, 0), isa.MAX_STACK_ARG_SLOTS)
    return slots


def _stop(kind: str, why: str, insn: int | None = None) -> Op:
    return (CALL_OUT, calls.stop, kind, why, insn)


def _check_registers(insn: Insn, form: Form) -> None:
    """r0..r10 only, r11 where the form itself names it; r10 is never written."""
    for field, number in ((form.dst, insn.dst), (form.src, insn.src)):
        if isinstance(field, int):
            continue
        if number > isa.FP:
            raise Stop("opcode", f"R{number} is invalid")
        if number == isa.FP and field in ("write", "update"):
            raise Stop("opcode", "frame pointer is read only")


def _move(insn: Insn, wide: bool) -> alu.Binary:
    if insn.off == isa.OFF_ADDR_SPACE_CAST and wide:
        # Arenas, whose pointers have two forms, do not exist here; both forms share their low 32 bits.
        return alu.MOV32
    if insn.off:
        return (alu.MOVSX64 if wide else alu.MOVSX32)[insn.off]
    return alu.MOV32


def _binary(insn: Insn, wide: bool) -> alu.Binary:
    if insn.off:
        return (alu.SIGNED64 if wide else alu.SIGNED32)[insn.op]
    return (alu.ALU64 if wide else alu.ALU32)[insn.op]


def _out_slot(off: int) -> int:
    slot = isa.store_slot(off)
    if slot >= isa.MAX_STACK_ARG_SLOTS:
        raise Stop("opcode", f"stack arg write offset {off} exceeds max {isa.MAX_STACK_ARG_SLOTS} stack args")
    return slot
