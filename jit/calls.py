"""Calls, indirect jumps and tail calls: code that refers to places outside the function.

Source: sections D.5 and D.10 of the convention.
"""

from collections.abc import Sequence
from typing import Final

from bpf import isa
from jit import alu
from jit.emitted import Emitted
from jit.frame import WORD
from jit.layout import Plan, give_back
from jit.profile import Profile
from jit.regmap import ARENA, ARG6, FP, REGMAP
from jit.x64 import registers as x
from jit.x64.encoder import Mem, form

_CALL: Final = form("call rel32")(0)
_JMP32: Final = form("jmp rel32")
_JMP_REG: Final = form("jmp rm64")
_JAE: Final = form("jae rel8")
_JBE: Final = form("jbe rel8")
_JE: Final = form("je rel8")
_PUSH: Final = form("push r64")
_POP: Final = form("pop r64")
_MOV_LOAD: Final = form("mov r64, m64")
_MOV32: Final = form("mov rm32, r32")
_CMP_M32: Final = form("cmp m32, r32")
_CMP_M64: Final = form("cmp m64, imm8")
_ADD_M64: Final = form("add m64, imm8")
_ADD8: Final = form("add rm64, imm8")
_ADD32: Final = form("add rm64, imm32")
_TEST32: Final = form("test rm32, r32")
_ADD64: Final = form("add rm64, r64")
_TEST64: Final = form("test rm64, r64")
_SAR_GS: Final = bytes.fromhex("6548c13d")  # sar qword ptr gs:[rip + disp32], imm8; with 5 behind
_ADD_GS: Final = form("add r64, abs64")
_LFENCE: Final = form("lfence")()
_INT3: Final = form("int3")()
_IBHF: Final = bytes.fromhex("f3480f1ef8")  # no row of the table: disassemblers take it for nothing
_NOP5: Final = form("nop 5")()

CALL_DEPTH: Final = "__x86_call_depth"
CLEAR_HISTORY: Final = "clear_bhb_loop"


def load_tail_count(plan: Plan) -> bytes:
    """rax = the pointer to the tail-call count; always with 4 bytes of displacement."""
    code = _MOV_LOAD(x.RAX, Mem(FP, -1 << 16))
    return code[:-4] + (plan.tail_count_off & isa.U32).to_bytes(4, "little")


def call(
    plan: Plan,
    insn: int,
    *,
    symbol: str = "",
    function: int = -1,
    addend: int = 0,
    arena_args: Sequence[tuple[int, bool]] = (),
) -> Emitted:
    """A call of `symbol`, `addend` bytes behind it, or of the BPF function with number `function`, which gets the tail-call count.

    arena_args: (argument 1..5, may be null) of a kfunc that wants kernel addresses of the arena.
    """
    out = Emitted()
    if function >= 0 and plan.sub.tail_call_reachable:
        out.add(load_tail_count(plan))
    for number, nullable in arena_args:
        out.add(_arena_address(REGMAP[number], nullable=nullable))
    if plan.sub.private_stack:
        out.add(_PUSH(ARG6), WORD, x.NAMES64[ARG6])
    _count_depth(out, plan, insn)
    out.add_field(_CALL, 4, "call", function, symbol, addend, insn)
    if plan.sub.private_stack:
        out.add(_POP(ARG6), -WORD, x.NAMES64[ARG6])
    return out


def _count_depth(out: Emitted, plan: Plan, insn: int) -> None:
    """The accounting of call depth in front of a call, where the profile wants it."""
    if plan.profile.call_depth:
        out.add_field(_SAR_GS + bytes(4), 4, "rel", symbol=CALL_DEPTH, addend=-1, insn=insn)
        out.add(b"\x05")


def history_barrier(plan: Plan, insn: int) -> Emitted:
    """In front of the exit of a user's filter of classic BPF: no branch history of it is left behind."""
    out = Emitted()
    if plan.profile.bhb_loop:
        out.add(_PUSH(x.RAX), 8, "rax")  # the loop clobbers both
        out.add(_PUSH(x.RCX), 8, "rcx")
        _count_depth(out, plan, insn)
        out.add_field(_CALL, 4, "call", symbol=CLEAR_HISTORY, insn=insn)
        out.add(_POP(x.RCX), -8, "rcx")
        out.add(_POP(x.RAX), -8, "rax")
    if plan.profile.bhb_fence:
        out.add(_IBHF)
    return out


def _arena_address(reg: int, *, nullable: bool) -> bytes:
    """The 32-bit arena address in `reg` as a kernel address; 0 stays 0 where it may be."""
    add = _ADD64(reg, ARENA)
    skip = _TEST32(reg, reg) + _JE(len(add)) if nullable else b""
    return _MOV32(reg, reg) + skip + add


def indirect_jump(out: Emitted, profile: Profile, reg: int, insn: int) -> None:
    """Append `jmp reg`, in the way that the profile's mitigation wants it."""
    name = x.NAMES64[reg]
    match profile.indirect:
        case "its":
            symbol = f"__x86_indirect_its_thunk_{name}"
        case "retpoline":
            symbol = (
                f"__x86_indirect_jump_thunk_{name}" if profile.call_depth else f"__x86_indirect_thunk_{name}"
            )
        case "lfence":
            out.add(_LFENCE + _JMP_REG(reg))
            return
        case "plain":
            out.add(_JMP_REG(reg) + (_INT3 if profile.sls else b""))
            return
    out.add_field(_JMP32(0), 4, "jump", symbol=symbol, insn=insn)


def percpu(dst: int, src: int, insn: int) -> Emitted:
    """dst = src + the base of this CPU's memory."""
    out = Emitted(alu.mov64(dst, src))
    out.add_field(_ADD_GS(dst, Mem(None, 0)), 4, "symbol", symbol="this_cpu_off", insn=insn)
    return out


def tail_call(plan: Plan, insn: int, number: int) -> Emitted:
    """A tail call; `number` is the instruction's immediate: 0 is by index at run time, else a known array entry."""
    return _direct(plan) if number else _indirect(plan, insn)


def _leave_frame(out: Emitted, plan: Plan) -> None:
    """Append what undoes everything that the prologue pushed behind rbp, so that the next program enters behind its own push of rbp.

    The outgoing area is not given back: a function with stack arguments makes no tail calls.
    """
    give_back(out, plan)
    out.add(_POP(x.RAX), -WORD)
    out.add(_POP(x.RAX), -WORD)
    if plan.depth:
        out.add(_ADD32(x.RSP, plan.depth), -plan.depth)


def _indirect(plan: Plan, insn: int) -> Emitted:
    profile = plan.profile
    # rsi: the array, rdx: the index. From the end backwards, because the jumps over it need its length.
    go = Emitted()
    _leave_frame(go, plan)
    go.add(_MOV_LOAD(x.RCX, Mem(x.RCX, profile.bpf_func_off)))
    go.add(_ADD8(x.RCX, profile.tail_call_offset))
    indirect_jump(go, profile, x.RCX, insn)
    count_up = _ADD_M64(Mem(x.RAX, None), 1)
    rest = count_up + go.code
    entry = (
        _MOV_LOAD(x.RCX, Mem(x.RSI, profile.ptrs_off, x.RDX, 8))
        + _TEST64(x.RCX, x.RCX)
        + _JE(_rel8(len(rest)))
    )
    rest = entry + rest
    limit = load_tail_count(plan) + _CMP_M64(Mem(x.RAX, None), isa.MAX_TAIL_CALLS) + _JAE(_rel8(len(rest)))
    rest = limit + rest
    index = (
        _MOV32(x.RDX, x.RDX) + _CMP_M32(Mem(x.RSI, profile.max_entries_off), x.RDX) + _JBE(_rel8(len(rest)))
    )
    head = index + limit + entry + count_up
    out = Emitted(head)
    out.append(go)
    return out


def _direct(plan: Plan) -> Emitted:
    """Two patch sites: a jump over it all, and a nop that becomes the jump to the program."""
    go = Emitted(_ADD_M64(Mem(x.RAX, None), 1))
    _leave_frame(go, plan)
    go.add(_NOP5)
    bypass = _JMP32(len(go.code))
    head = load_tail_count(plan) + _CMP_M64(Mem(x.RAX, None), isa.MAX_TAIL_CALLS)
    head += _JAE(_rel8(len(bypass) + len(go.code)))
    out = Emitted(head + bypass)
    out.append(go)
    out.poke = len(head), len(out.code) - len(_NOP5)
    return out


def _rel8(distance: int) -> int:
    assert distance <= 127
    return distance
