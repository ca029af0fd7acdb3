"""The catalogue: every fault of the reference interpreter that is planted, one row each.

kind: width (32 and 64 bits, extension), arithmetic (single results), branch (conditions), memory (loads and stores), call
(arguments, results, what a call saves), atomic. check: the oracle of the campaign meant to kill it.
"""

from typing import Any, Final

from bpf import isa
from emu.mutants import interp_faults as f
from emu.mutants.mutant import Fault, Mutant


def _row(name: str, kind: str, what: str, where: str, fault: Fault | Any) -> Mutant:
    return Mutant(name, kind, what, "engines", tuple(where.split()), fault, "interp")


_ALU: Final = "emu.interp.alu:"

# fmt: off
INTERP_MUTANTS: Final = (
    _row("add32-wide", "width", "w += does not clear the upper half", f"{_ALU}ALU32[{isa.ADD}]", f.always(f.add_wide)),
    _row("mul32-signed", "width", "the result of w *= is extended with the sign", f"{_ALU}ALU32[{isa.MUL}]", f.always(f.mul_signed32)),
    _row("mov32-wide", "width", "w = w does not clear the upper half", f"{_ALU}MOV32", f.always(f.move_wide)),
    _row("neg32-wide", "width", "w = -w does not clear the upper half", f"{_ALU}NEG32", f.always(f.neg_wide)),
    _row("movsx8-unsigned", "width", "r = (s8)r extends with zeros", f"{_ALU}MOVSX64[8]", f.always(f.byte_unsigned)),
    _row("bswap16-keeps", "width", "bswap16 keeps the upper bytes", f"{_ALU}SWAP[16]", f.always(f.swap_keeps)),
    _row("le32-not-cut", "width", "le32 does not clear the upper half", f"{_ALU}TO_LE[32]", f.always(f.not_cut)),
    _row("sdiv-rounds-down", "arithmetic", "signed quotients are rounded down", f"{_ALU}_quotient", f.floor_division),
    _row("smod-sign", "arithmetic", "signed remainders have the sign of the divisor", f"{_ALU}_remainder", f.sign_of_divisor),
    _row("sdiv-overflow", "arithmetic", "MIN s/ -1 is MAX", f"{_ALU}SIGNED64[{isa.DIV}]", f.overflow),
    _row("div-by-zero", "arithmetic", "x / 0 is all ones", f"{_ALU}_div64", f.all_ones),
    _row("lsh-count", "arithmetic", "<<= takes 5 bits of its count", f"{_ALU}ALU64[{isa.LSH}]", f.always(f.wrong_count)),
    _row("rsh32-count", "arithmetic", "w >>= takes 6 bits of its count", f"{_ALU}ALU32[{isa.RSH}]", f.always(f.unmasked_count)),
    _row("arsh32-unsigned", "arithmetic", "w s>>= brings zeros in", f"{_ALU}ALU32[{isa.ARSH}]", f.always(f.unsigned_arsh32)),
    _row("jslt-unsigned-interp", "branch", "s< compares unsigned", f"{_ALU}JMP64[{isa.JSLT}]", f.always(f.unsigned_less)),
    _row("jgt32-wide", "branch", "w > compares 64 bits", f"{_ALU}JMP32[{isa.JGT}]", f.always(f.whole_greater)),
    _row("jset-half", "branch", "& looks at the low half only", f"{_ALU}JMP64[{isa.JSET}]", f.always(f.half_set)),
    _row("jump-imm-unsigned", "branch", "the immediate of a 64-bit comparison is extended with zeros", "emu.interp.ops:conditional", f.unsigned_condition),
    _row("gotox-next-way", "branch", "gotox goes where the jump table's next entry leads", "emu.interp.special:indirect_jump", f.next_way),
    _row("cast-to-user-plain", "memory", "an address in the arena keeps its form when it is cast for user space", "emu.interp.arena:_cast", f.always(f.plain_cast)),
    _row("cast-from-user-wide", "memory", "an address of user space keeps its upper half when it is cast", "emu.interp.ops:_move", f.wide_cast),
    _row("arena-fault-keeps", "memory", "a load where no page of the arena is leaves its register as it was", "emu.interp.arena:_load", f.kept_at_fault),
    _row("ldsx-unsigned", "memory", "signed loads extend with zeros", "emu.interp.ops:_ldx", f.other_insn(f.unsigned_load)),
    _row("ldx32-signed", "memory", "loads of 4 bytes extend with the sign", "emu.interp.ops:_ldx", f.other_insn(f.signed_load)),
    _row("st-imm-unsigned", "memory", "the immediate of a store of 8 bytes is extended with zeros", "emu.interp.ops:_st", f.unsigned_store),
    _row("imm64-half", "memory", "a 64-bit immediate loses its upper half", "emu.interp.decode:_Decoder._wide_value", f.low_half_of_wide),
    _row("argument-imm-unsigned", "call", "the immediate of a stored argument is extended with zeros", "emu.interp.ops:_st", f.unsigned_argument),
    _row("slots-7-8-swapped", "call", "arguments 7 and 8 of a function change places", "emu.interp.calls:call_function", f.frame_changed(f.slots_7_8_swapped)),
    _row("kfunc-slots-reversed", "call", "stack arguments of a kfunc in reverse order", "emu.interp.calls:call_kfunc", f.frame_changed(f.slots_reversed)),
    _row("slots-shifted", "call", "stack arguments of a function one slot too high", "emu.interp.calls:call_function", f.frame_changed(f.slots_shifted)),
    _row("r1-r2-swapped", "call", "the first two arguments of a function change places", "emu.interp.calls:call_function", f.frame_changed(f.r1_r2_swapped)),
    _row("r6-not-restored", "call", "r6 comes back as the callee left it", "emu.interp.calls:leave", f.leaks(6)),
    _row("r9-not-restored", "call", "r9 comes back as the callee left it", "emu.interp.calls:leave", f.leaks(9)),
    _row("result-32-bits", "call", "negative results of functions lose their upper half", "emu.interp.calls:leave", f.narrow_result),
    _row("fetch-new", "atomic", "atomic fetches give the new value", "emu.interp.atomics:read_modify_write", f.fetches_new),
    _row("cmpxchg-whole-r0", "atomic", "a 32-bit cmpxchg compares all of r0", "emu.interp.atomics:compare_exchange", f.whole_r0),
    _row("cmpxchg-r0-kept", "atomic", "a cmpxchg that stores leaves the upper half of r0", "emu.interp.atomics:compare_exchange", f.r0_kept),
)
# fmt: on
