"""The rules of the calling convention, each as a comparison. What they compare was recorded by native code."""

from dataclasses import dataclass
from typing import Final, Literal

from bpf import isa
from bpf.proto import FuncProto
from emu.outcome import Violation
from emu.sandbox import addresses, control
from emu.sandbox.control import Exit
from emu.sandbox.entry import DATA_SELECTOR, entry_rsp
from emu.sandbox.images import Site

SAVED_REGISTERS: Final = (
    "rbx",
    "rbp",
    "r12",
    "r13",
    "r14",
    "r15",
)  # in the order of Exit.saved and Record.saved
PRESERVED: Final = frozenset(SAVED_REGISTERS) - {"rbp"}
_POISONS: Final = tuple(
    (reg, addresses.POISON[reg]) for reg in ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
)  # by argument
MAX_VIOLATIONS: Final = 64  # of one run; more would say nothing new


@dataclass(frozen=True, slots=True)
class Checks:
    """Which rules hold. kernel: 8-byte stack alignment, as the kernel is built, and nothing below rsp. sysv: 16 bytes at
    each call, and 128 bytes below rsp for whoever calls nobody.

    The convention leaves the upper bits of narrow values open, and a compiler may rely on what its neighbour does:
    extended: kfuncs that rely on arguments extended to 64 bits; dirty: kfuncs whose narrow results come with rubbish in
    the upper bits. Names, or "*" for all.
    """

    profile: Literal["kernel", "sysv"] = "kernel"
    extended: frozenset[str] = frozenset()
    dirty: frozenset[str] = frozenset()

    @property
    def align(self) -> int:
        """Bytes to which rsp is aligned before a call pushes the return address."""
        return 16 if self.profile == "sysv" else 8

    @property
    def red_zone(self) -> int:
        """Bytes below rsp that a function may use."""
        return 128 if self.profile == "sysv" else 0


def at_exit(found: Exit, function: str) -> list[Violation]:
    """What the main function, or something it called, left behind that it should not have."""
    out = saved_registers(found.saved, tuple(addresses.SENTINELS.values()), None, function)
    if found.rsp != entry_rsp() + 8:
        out.append(violation("rsp", None, function, entry_rsp() + 8, found.rsp, "rsp after the return"))
    out += flags(found.flags, None, function)
    for name, value in zip(("ds", "es", "fs", "gs"), found.selectors, strict=True):
        if value != DATA_SELECTOR:
            out.append(violation("segment", None, function, DATA_SELECTOR, value, f"selector {name}"))
    return out


def at_call(rsp: int, flag_word: int, checks: Checks, site: Site | None, callee: str) -> list[Violation]:
    """What is wrong when a stub is entered; rsp points to the return address."""
    misaligned = (rsp + 8) % checks.align
    if not misaligned and not flag_word & (control.DIRECTION | control.LASTING):
        return []
    function = site.function.name if site else ""
    out = flags(flag_word, site, function)
    if misaligned:
        want = (rsp + 8) // checks.align * checks.align - 8
        what = f"rsp at the call of {callee}, for {checks.align}-byte alignment"
        out.append(violation("stack-alignment", site, function, want, rsp, what))
    return out


def narrow_arguments(
    args: tuple[int, ...], proto: FuncProto, checks: Checks, site: Site | None, callee: str
) -> list[Violation]:
    """Narrow arguments whose upper bits are not what the callee relies on."""
    if not checks.extended & {callee, "*"}:
        return []
    function = site.function.name if site else ""
    return [
        violation(
            "narrow-argument",
            site,
            function,
            want,
            have,
            f"argument {number} of {callee}, {param.type} {param.name}",
        )
        for number, (param, have) in enumerate(zip(proto.params, args, strict=False), 1)
        if (want := param.type.extend(have)) != have
    ]


def passed_nothing(args: tuple[int, ...], first: int, site: Site | None, callee: str) -> list[Violation]:
    """Arguments, from number `first` on, that hold what a call leaves behind: nobody has set them since.

    Such values are in no register or argument word of a program that keeps the convention.
    """
    out = []
    for number, have in enumerate(args[first - 1 :], first):
        if number <= len(_POISONS):
            reg, poison = _POISONS[number - 1]
        else:
            reg, poison = "", addresses.POISON_WORD + number
        if have == poison:
            function = site.function.name if site else ""
            check = "stale-argument" if number > isa.MAX_REG_ARGS else "clobbered-register"
            what = (
                f"argument {number} of {callee}{reg and f', {reg},'} was not set since the last call; found"
            )
            out.append(violation(check, site, function, None, have, what))
    return out


def dirtied(value: int, proto: FuncProto, checks: Checks, callee: str) -> int:
    """A result as it comes back in rax: with rubbish above its type, where the callee leaves some."""
    bits = 8 if proto.ret.kind == "bool" else proto.ret.bits
    if not checks.dirty & {callee, "*"} or proto.ret.kind not in ("int", "bool", "enum") or bits >= 64:
        return value
    mask = (1 << bits) - 1
    return value & mask | addresses.POISON["rax"] & ~mask


def return_address(site: Site | None, callee: str, found: int) -> Violation:
    """A stub was entered otherwise than by a call of it."""
    return violation(
        "return-address", site, site.function.name if site else "", None, found,
        f"no call of {callee} stands in front of its return address; found",
    )  # fmt: skip


def saved_registers(
    found: tuple[int, ...], expected: tuple[int, ...], site: Site | None, function: str
) -> list[Violation]:
    """Callee-saved registers that do not hold what they held before. function: the one that returned."""
    return [
        violation(
            "callee-saved",
            site,
            function,
            want,
            have,
            f"callee-saved {name} after {function or 'it'} returned",
        )
        for name, want, have in zip(SAVED_REGISTERS, expected, found, strict=True)
        if want != have
    ]


def stack_pointer(found: int, expected: int, site: Site | None, function: str) -> list[Violation]:
    """rsp after a callback, or a function behind a gate, returned."""
    if found == expected:
        return []
    return [
        violation("rsp", site, function, expected, found, f"rsp after {function or 'the callback'} returned")
    ]


def flags(word: int, site: Site | None, function: str) -> list[Violation]:
    """Direction flag set, or flags that outlive the program."""
    out: list[Violation] = []
    if word & control.DIRECTION:
        out.append(violation("direction-flag", site, function, 0, 1, "direction flag"))
    if word & control.LASTING:
        out.append(violation("flags", site, function, 0, word & control.LASTING, "TF, IOPL, NT or AC"))
    return out


def violation(
    check: str, site: Site | None, function: str, expected: int | None, found: int, what: str
) -> Violation:
    """A Violation with its message: `insn 12: r1 = ...: what: expected 0x1, found 0x2`. function: where there is no site.

    expected: None where nothing in particular is; then `what` ends so that the found value can follow.
    """
    where = site.text() if site else (function or "wild code")
    wanted = " " if expected is None else f": expected {expected:#x}, found "
    return Violation(
        check,
        site.insn if site else None,
        function,
        site.function.addr + site.off if site else None,
        expected or 0,
        found,
        f"{where}: {what}{wanted}{found:#x}",
    )
