"""Why a run ended before its end: from what the processor says to a Trap that names the instruction."""

from typing import Final

from emu.outcome import Trap
from emu.sandbox import addresses, forbidden, native
from emu.sandbox.images import CodeMap, Site
from emu.sandbox.machine import Machine, Stop

_DIVIDE: Final = 0
_DEBUG: Final = 1
_BREAKPOINT: Final = 3
_NO_DEVICE: Final = 7
_PROTECTION: Final = 13
_FIRST_FREE: Final = 32  # interrupts from here on are no exceptions: only an int instruction raises them


def trap_of(stop: Stop, machine: Machine, code: CodeMap, seconds: float, latest: Site | None) -> Trap:
    """The Trap of a run that neither came to its end nor was ended by the runtime. latest: the last call of a stub."""
    rip = _instruction(stop, machine)
    kind, reason = _reason(stop, rip, machine, seconds)
    site = code.site(rip)
    if site is None and kind == "fetch":
        site = _caller(stop, machine, code)
    elif site is None and addresses.TEXT <= rip < addresses.TEXT + addresses.TEXT_SIZE:
        site = latest
    return describe(kind, reason, rip, site, machine)


def describe(kind: str, reason: str, rip: int | None, site: Site | None, machine: Machine) -> Trap:
    """A Trap with its message: `insn 12: r1 = *(u64 *)(r2 +8): reason (mov rdi, [rsi + 8] at 0x..., main+0x2c)`."""
    asm = text_at(machine, rip) if rip is not None else ""
    where = f"{site.text()}: " if site else ""
    native_part = f" ({asm} at {rip:#x})" if asm and rip is not None else ""
    return Trap(kind, site.insn if site else None, f"{where}{reason}{native_part}", rip, asm)


def text_at(machine: Machine, addr: int) -> str:
    """The native instruction at `addr`, "" outside of the image."""
    at = addr - addresses.IMAGE
    if not 0 <= at < addresses.IMAGE_SIZE:
        return ""
    return forbidden.text_of(bytes(machine.image[at : at + 16]), addr)


def _instruction(stop: Stop, machine: Machine) -> int:
    """Address of the instruction at fault: int3 and int n are reported behind themselves."""
    number = stop.interrupt
    at = stop.rip - addresses.IMAGE
    if number is None or not 1 <= at < addresses.IMAGE_SIZE:
        return stop.rip
    before = bytes(machine.image[max(at - 2, 0) : at])
    if before == bytes((0xCD, number & 0xFF)):
        return stop.rip - 2
    if number == _BREAKPOINT and before[-1] == 0xCC:
        return stop.rip - 1
    return stop.rip


def _caller(stop: Stop, machine: Machine, code: CodeMap) -> Site | None:
    """Who jumped to nowhere: the call whose return address lies on top of the stack, if it is one."""
    at = stop.rsp - addresses.STACK
    if not 0 <= at <= addresses.STACK_SIZE - 8:
        return None
    ret = int.from_bytes(machine.stack_word(at), "little")
    return code.site(ret - 1)


def _reason(stop: Stop, rip: int, machine: Machine, seconds: float) -> tuple[str, str]:
    if stop.forbidden:
        return "opcode", f"{stop.forbidden} is no instruction of BPF code"
    if stop.timeout:
        return "budget", f"still running after {seconds:g} s"
    if stop.interrupt is not None:
        return _exception(stop.interrupt, rip, machine)
    if stop.error == native.INSN_INVALID:
        return "opcode", "#UD: no valid instruction"
    if stop.error in native.FETCH_ERRORS:
        what = "not executable" if stop.error == native.FETCH_PROT else "not mapped"
        return "fetch", f"jump to {stop.rip:#x}, which is {what}"
    if stop.addr is not None:
        return _access(stop, stop.addr)
    if stop.rip == addresses.END:
        return "fetch", "jump to the end of the run without returning to it"
    return "exception", f"the processor stopped with error {stop.error} at {stop.rip:#x}"


def _access(stop: Stop, addr: int) -> tuple[str, str]:
    verb = "write" if stop.error in native.WRITE_ERRORS else "read"
    what = f"{verb} of {stop.size} bytes at {addr:#x}"
    if stop.error == native.WRITE_PROT:
        return "write-code", f"{what}, which is code"
    low, high = addresses.STACK, addresses.STACK + addresses.STACK_SIZE
    if low - addresses.GUARD <= addr < low or high <= addr < high + addresses.GUARD:
        return "stack", f"{what}, in the guard page of the native stack"
    if not low <= stop.rsp <= high and (addr - stop.rsp + addresses.PAGE) % (1 << 64) <= 2 * addresses.PAGE:
        return "stack", f"{what}, with rsp {stop.rsp:#x} outside of the native stack"
    return "access", f"{what}, where nothing is mapped"


def _exception(number: int, rip: int, machine: Machine) -> tuple[str, str]:
    if number == _DIVIDE:
        return "divide", "#DE: division by zero or overflow"
    if number == _NO_DEVICE:
        return "opcode", "#NM: kernel code owns no floating-point or vector registers"
    if number == _PROTECTION:
        return "opcode", f"#GP: {text_at(machine, rip) or 'privileged instruction'} is not allowed"
    if number == _BREAKPOINT or number >= _FIRST_FREE:
        return "opcode", f"interrupt {number:#x}"
    if number == _DEBUG:
        return "exception", "#DB: the trap flag is set"
    return "exception", f"exception {number}"
