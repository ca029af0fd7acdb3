"""The catalogue: every fault of the JIT that is planted, one row each.

kind: the class of bugs, by what went wrong in JITs before: frame (sizes and offsets of what a function keeps), argument
(where one is put or looked for), register (saved, restored, used as scratch), return (epilogue and exits), call (the
call itself), encoding (one instruction's bytes). check: by its name in docs/sandbox.md.
"""

from dataclasses import replace
from typing import Final

from bpf import isa
from emu.mutants import frame_faults as f
from emu.mutants import insn_faults as i
from emu.mutants.mutant import Mutant
from jit.x64 import registers as x

_PLAN: Final = ("jit.layout:plan",)
_FUNCTION_PLAN: Final = ("jit.compiler:_Function._plan",)
_NATIVE_OFF: Final = ("jit.layout:Plan.native_off",)
_PROLOGUE: Final = ("jit.layout:prologue",)
_EPILOGUE: Final = ("jit.layout:epilogue",)
_EXIT: Final = ("jit.compiler:_Function._exit",)
_CALL: Final = ("jit.calls:call",)
_STACK_ARG: Final = ("jit.compiler:_Function._stack_arg",)


def _rows(*codes: int) -> tuple[str, ...]:
    """Rows of the table of lowering functions."""
    return tuple(f"jit.lower:_ROWS[{code:#x}]" for code in codes)


_STORES: Final = _rows(isa.STX | isa.MEM | isa.DW, isa.ST | isa.MEM | isa.DW)
_LOAD: Final = _rows(isa.LDX | isa.MEM | isa.DW)
_DIVISIONS: Final = _rows(isa.ALU64 | isa.DIV | isa.K, isa.ALU64 | isa.DIV | isa.X)
_SHIFT: Final = _rows(isa.ALU64 | isa.LSH | isa.X)
_MOV: Final = _rows(isa.ALU64 | isa.MOV | isa.X)
_STORE_BYTE: Final = _rows(isa.STX | isa.MEM | isa.B)
_ATOMIC: Final = _rows(isa.STX | isa.ATOMIC | isa.DW)


# fmt: off
MUTANTS: Final = (
    Mutant("outgoing-forgotten", "frame", "no outgoing area at all", "outgoing-area", _PLAN, f.outgoing_size(lambda _plan: 0)),
    Mutant("outgoing-one-short", "frame", "outgoing area of (count - 2) * 8 bytes", "outgoing-area", _PLAN, f.outgoing_size(lambda plan: plan.outgoing_size - 8)),
    Mutant("outgoing-at-most-two", "frame", "outgoing area never larger than two words", "outgoing-area", _PLAN, f.outgoing_size(lambda plan: min(plan.outgoing_size, 16))),
    Mutant("outgoing-by-first-call", "frame", "outgoing area sized by the first call of the function", "outgoing-area", _FUNCTION_PLAN, f.sized_by_first_call),
    Mutant("outgoing-less-incoming", "frame", "incoming arguments subtracted from the outgoing area", "outgoing-area", _PLAN, f.outgoing_size(lambda plan: plan.outgoing_size - 8 * max(plan.sub.in_stack_args - 1, 0))),
    Mutant("outgoing-with-incoming", "frame", "prologue and epilogue count incoming arguments in the outgoing area", "outgoing-slot", (*_PROLOGUE, *_EPILOGUE), f.with_plan(f.grown_by_incoming)),
    Mutant("offset-without-16", "frame", "offset of outgoing arguments without the -16", "outgoing-slot", _NATIVE_OFF, f.native_off(lambda _plan, _off, right: right + 16)),
    Mutant("offset-one-word-up", "frame", "offset of outgoing arguments one word too high", "outgoing-slot", _NATIVE_OFF, f.native_off(lambda _plan, _off, right: right + 8)),
    Mutant("offset-one-word-down", "frame", "offset of outgoing arguments one word too low", "below-rsp", _NATIVE_OFF, f.native_off(lambda _plan, _off, right: right - 8)),
    Mutant("offset-sign", "frame", "offset from r11 added, not subtracted", "below-rsp", _NATIVE_OFF, f.native_off(lambda _plan, off, right: right + 2 * off)),
    Mutant("offset-positive", "frame", "displacement from rbp with the wrong sign", "outgoing-slot", _NATIVE_OFF, f.native_off(lambda _plan, _off, right: -right)),
    Mutant("offset-without-saved", "frame", "offset without the saved registers", "outgoing-slot", _NATIVE_OFF, f.native_off(lambda plan, _off, right: right + 8 * len(plan.saved))),
    Mutant("offset-without-depth", "frame", "offset without the program stack", "outgoing-slot", _NATIVE_OFF, f.native_off(lambda plan, _off, right: right + plan.depth)),
    Mutant("offset-without-area", "frame", "offset without the outgoing area itself", "outgoing-slot", _NATIVE_OFF, f.native_off(lambda plan, _off, right: right + plan.outgoing_size)),
    Mutant("offset-in-a-byte", "encoding", "displacement of outgoing arguments cut to 8 bits", "outgoing-slot", _STACK_ARG, i.stack_store(i.store_at(lambda off: (off + 128) % 256 - 128))),
    Mutant("depth-misaligned", "frame", "program stack of a size that is no multiple of 8", "stack-alignment", _PROLOGUE, f.with_plan(f.depth_misaligned)),
    Mutant("depth-forgotten", "frame", "program stack not allocated", "below-rsp", _PROLOGUE, f.with_plan(f.no_depth)),
    Mutant("depth-in-a-byte", "encoding", "sub rsp with 8 bits of immediate where the depth needs more", "below-rsp", _PROLOGUE, f.with_plan(f.depth_in_a_byte)),
    Mutant("arguments-reversed", "argument", "arguments from the seventh on in reverse order", "outgoing-slot", _NATIVE_OFF, f.native_off(lambda plan, off, right: right + plan.outgoing_size - 8 + 2 * (off + 16))),
    Mutant("arguments-7-8-swapped", "argument", "arguments 7 and 8 swapped", "outgoing-slot", _NATIVE_OFF, f.native_off(lambda _plan, off, right: right + {-16: 8, -24: -8}.get(off, 0))),
    Mutant("argument-8-lost", "argument", "store of argument 8 left out", "uninitialised", _STACK_ARG, i.stack_store(i.lost_store(2))),
    Mutant("argument-12-lost", "argument", "store of argument 12 left out", "uninitialised", _STACK_ARG, i.stack_store(i.lost_store(6))),
    Mutant("argument-half-stored", "encoding", "four bytes of an argument stored", "uninitialised", _STACK_ARG, i.stack_store(i.half_store)),
    Mutant("argument-off-by-one", "argument", "immediate of a stored argument plus one", "argument", _STACK_ARG, i.stack_store(i.stored_value(lambda insn: replace(insn, imm=insn.imm + 1)))),
    Mutant("argument-wrong-source", "encoding", "stored argument from r7 where r6 was meant", "argument", _STACK_ARG, i.stack_store(i.stored_value(lambda insn: replace(insn, src=7 if insn.src == 6 else insn.src)))),
    Mutant("argument-6-lost", "argument", "store of argument 6 left out", "stale-argument", _STORES, i.arg6(i.nothing)),
    Mutant("argument-6-in-memory", "argument", "argument 6 stored on the stack, as if it were the first there", "below-rsp", _STORES, i.arg6(i.arg6_in_memory)),
    Mutant("argument-6-twice", "argument", "store of argument 6 goes on into the store of the others", "below-rsp", _STORES, i.arg6(i.arg6_twice)),
    Mutant("argument-6-32-bits", "encoding", "argument 6 moved with 32 bits, immediates zero-extended", "argument", _STORES, i.arg6(i.arg6_32_bits)),
    Mutant("argument-6-prefix", "encoding", "clearing r9 without its prefix clears ecx", "stale-argument", _STORES, i.arg6(i.arg6_zero_elsewhere)),
    Mutant("incoming-one-up", "argument", "callee reads argument 7 from rbp + 24", "incoming-read", _LOAD, i.incoming(i.incoming_at(8))),
    Mutant("incoming-one-down", "argument", "callee reads argument 7 from rbp + 8", "incoming-read", _LOAD, i.incoming(i.incoming_at(-8))),
    Mutant("incoming-6-from-memory", "argument", "callee reads argument 6 from rbp + 16", "incoming-read", _LOAD, i.incoming(i.arg6_from_memory)),
    Mutant("incoming-6-from-rdi", "argument", "callee reads argument 6 from rdi", "argument", _LOAD, i.incoming(i.arg6_from_rdi)),
    Mutant("first-saved-forgotten", "register", "first of the callee-saved registers is not saved", "callee-saved", _PLAN, f.not_saved(lambda saved: saved[0] if saved else None)),
    Mutant("last-saved-forgotten", "register", "last of the callee-saved registers is not saved", "callee-saved", _PLAN, f.not_saved(lambda saved: saved[-1] if saved else None)),
    Mutant("rbx-forgotten", "register", "rbx is not saved", "callee-saved", _PLAN, f.not_saved(lambda _saved: x.RBX)),
    Mutant("r15-forgotten", "register", "r15 is not saved", "callee-saved", _PLAN, f.not_saved(lambda _saved: x.R15)),
    Mutant("saved-not-by-loads", "register", "registers are saved when they are the destination of anything but loads", "callee-saved", _FUNCTION_PLAN, f.unseen(lambda insn: insn.cls == isa.LDX)),
    Mutant("saved-not-by-moves", "register", "registers are saved when they are the destination of anything but moves", "callee-saved", _FUNCTION_PLAN, f.unseen(lambda insn: insn.op == isa.MOV)),
    Mutant("pops-in-push-order", "return", "saved registers popped in the order of the pushes", "callee-saved", ("jit.layout:give_back",), f.in_push_order),
    Mutant("no-give-back", "return", "epilogue without add rsp", "callee-saved", _EPILOGUE, f.with_plan(f.no_outgoing)),
    Mutant("give-back-late", "return", "add rsp behind the pops", "callee-saved", _EPILOGUE, f.head(f.give_back_late)),
    Mutant("later-exit-no-give-back", "return", "later exits jump behind the add rsp", "callee-saved", _EXIT, f.later_exit(f.skip_give_back)),
    Mutant("later-exit-no-pops", "return", "later exits jump behind the pops", "callee-saved", _EXIT, f.later_exit(f.only_leave)),
    Mutant("unwound-from-outgoing", "return", "an exception takes saved registers back from the outgoing area", "callee-saved", ("jit.layout:frame",), f.unwound_without_outgoing),
    Mutant("exception-saves-used-only", "register", "a main program that throws saves only the registers it uses", "callee-saved", _PLAN, f.boundary_saves_what_it_uses),
    Mutant("no-leave", "return", "epilogue without leave", "rsp", _EPILOGUE, f.head(f.without(bytes.fromhex("c9")))),
    Mutant("pops-its-arguments", "return", "ret 8 instead of ret", "rsp", _EPILOGUE, f.head(f.pops_its_arguments)),
    Mutant("direction-flag-left", "return", "direction flag set when a function returns", "direction-flag", _EPILOGUE, f.head(f.before_return(bytes.fromhex("fd")))),
    Mutant("direction-flag-at-call", "call", "direction flag set at a call", "direction-flag", _CALL, f.around_calls(bytes.fromhex("fd"), bytes.fromhex("fc"))),
    Mutant("pushed-around-call", "call", "a word pushed between the stores and the call", "argument", _CALL, f.around_calls(bytes.fromhex("50"), bytes.fromhex("415b"))),
    Mutant("pushed-and-left", "call", "a word pushed before each call and never popped", "argument", _CALL, f.around_calls(bytes.fromhex("50"))),
    Mutant("call-too-short", "call", "distance of a call without the call's own bytes", "trap", _CALL, f.call_too_far),
    Mutant("argument-register-reused", "call", "r9 is used again behind the call", "clobbered-register", _CALL, f.around_calls(b"", bytes.fromhex("4c01c8"))),
    Mutant("division-in-r9", "register", "division takes r9 as scratch", "argument", _DIVISIONS, i.scratch(x.R9)),
    Mutant("division-in-rbx", "register", "division takes rbx as scratch", "callee-saved", _DIVISIONS, i.scratch(x.RBX)),
    Mutant("division-loses-rdx", "register", "division does not save rdx", "argument", _DIVISIONS, i.cut((bytes.fromhex("52"), bytes.fromhex("5a")))),
    Mutant("shift-loses-rcx", "register", "shift by a register does not save rcx", "argument", _SHIFT, i.shift_without_saving),
    Mutant("shift-in-red-zone", "register", "shift by a register saves rcx below rsp", "below-rsp", _SHIFT, i.shift_in_red_zone),
    Mutant("byte-store-prefix", "encoding", "store of a byte of rsi or rdi without its prefix", "argument", _STORE_BYTE, i.cut((bytes.fromhex("40"),))),
    Mutant("atomic-loses-r0", "register", "fetching atomic does not restore rax", "argument", _ATOMIC, i.cut((bytes.fromhex("4c89d0"),))),
    Mutant("jump-through-rax", "encoding", "an indirect jump goes through rax, whatever its register", "trap", ("jit.calls:indirect_jump",), i.through_rax),
    Mutant("cast-of-null", "encoding", "0 gets the upper half of the arena's addresses when it is cast for user space", "argument", ("jit.alu:_cast_user",), i.null_is_cast),
    Mutant("arena-fault-keeps-register", "register", "a load where no page of the arena is leaves its register as it was", "argument", ("jit.probe:_loaded",), i.nothing_loaded),
    Mutant("sign-extension-swapped", "encoding", "sign extension with its registers exchanged", "argument", _MOV, i.swapped),
    Mutant("stack-store-sign", "encoding", "store to the program stack at a positive displacement", "frame-write", _STORES, i.no_sign(lambda insn: insn.dst)),
    Mutant("stack-load-sign", "encoding", "load from the program stack at a positive displacement", "frame-read", _LOAD, i.no_sign(lambda insn: insn.src)),
)
# fmt: on
