"""What a JIT that is not ours is asked, and what it may answer, as JSON objects (docs/your-jit.md).

The bytecode is what a kernel's JIT is given: behind the verifier's rewriting, with pointers of maps filled in. Where the code
will lie and what it may call is known beforehand, so that no linking is left to do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bpf import codec, isa
from bpf.errors import InputError
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.verified import Subprog, Verified
from emu.sandbox.callees import callee_of

_MAP_POINTERS: Final = (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX)
_MAP_VALUES: Final = (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE)
_MOV64_K: Final = isa.ALU64 | isa.MOV | isa.K
MAX_CODE: Final = 16 << 20  # bytes, as much as the sandbox has room for


@dataclass(frozen=True, slots=True)
class Place:
    """Where things lie. base: of the code. symbols: of what it may call, by name. maps, values: one address a map."""

    base: int
    symbols: Mapping[str, int]
    maps: tuple[int, ...] = ()
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Native code in one piece. starts: offset of each function, the main one first; only that one where the JIT says no more.
    offsets: where the code of each instruction slot begins, None where it has none; nothing where the JIT does not say.

    unsupported: why the JIT does not take this program; then there is no code.
    """

    code: bytes = b""
    starts: tuple[int, ...] = (0,)
    offsets: tuple[int | None, ...] = ()
    unsupported: str = ""


def callees(verified: Verified) -> dict[int, str]:
    """Slot -> symbol, of every call of a function that is not the program's own."""
    out = {}
    for slot, insn in enumerate(verified.insns):
        if insn.code != isa.OP_CALL or insn.src == isa.PSEUDO_CALL:
            continue
        if slot in verified.symbols:
            out[slot] = verified.symbols[slot]
        elif insn.src == isa.PSEUDO_KFUNC_CALL:
            out[slot] = verified.kfuncs[insn.imm].name
        else:
            helper = HELPERS[insn.imm]
            out[slot] = helper.symbol or helper.name
    return out


def names(verified: Verified) -> tuple[str, ...]:
    """Everything of the kernel that the program calls or points to, in order."""
    return tuple(sorted({*callees(verified).values(), *verified.symbols.values()}))


def job(verified: Verified, place: Place) -> dict[str, Any]:
    """The question, as JSON. Raises InputError where the program names something that has no address."""
    name = verified.program.name
    calls = [
        {"insn": slot, "name": symbol, "addr": hex(place.symbols[symbol]), "nargs": callee_of(symbol).nargs}
        for slot, symbol in callees(verified).items()
    ]
    return {
        "name": name,
        "base": hex(place.base),
        "xlated": codec.encode(tuple(_filled(verified, place))).hex(),
        "functions": [_function(sub) for sub in verified.subprogs],
        "calls": calls,
    }


def _function(sub: Subprog) -> dict[str, Any]:
    """nargs is what the function can find: five registers, and the stack arguments that it is given."""
    return {
        "name": sub.name,
        "start": sub.start,
        "end": sub.end,
        "nargs": 1 if sub.kind == "main" else 5 + sub.in_stack_args,
        "out_stack_args": sub.out_stack_args,
        "stack": -(-sub.stack_depth // 8) * 8,
    }


def _filled(verified: Verified, place: Place) -> Iterator[Insn]:
    """The instructions, with addresses in place of maps and of the kernel's variables and functions."""
    upper: int | None = None
    for slot, insn in enumerate(verified.insns):
        if upper is not None:
            yield replace(insn, imm=upper)
            upper = None
            continue
        if (
            insn.code == _MOV64_K and slot in verified.symbols
        ):  # an address that its 32 bits, sign-extended, are
            yield replace(insn, imm=_signed(place.symbols[verified.symbols[slot]]))
            continue
        if insn.code != isa.LD_IMM64 or (insn.src == isa.PSEUDO_FUNC and slot not in verified.symbols):
            yield insn
            continue
        value = _value(verified, place, slot, insn)
        if value is None:
            yield insn
            continue
        yield replace(insn, src=0, imm=_signed(value))
        upper = _signed(value >> 32)


def _value(verified: Verified, place: Place, slot: int, insn: Insn) -> int | None:
    if slot in verified.symbols:
        return place.symbols[verified.symbols[slot]]
    if insn.src in _MAP_POINTERS:
        return place.maps[insn.imm]
    if insn.src in _MAP_VALUES:
        if not place.values[insn.imm]:
            raise InputError(verified.program.name, f"insn {slot}", "the map's values have no address")
        return place.values[insn.imm] + (verified.insns[slot + 1].imm & isa.U32)
    return None


def _signed(value: int) -> int:
    return isa.sext(value & isa.U32, 32)


def answer(value: object, who: str, functions: int, slots: int) -> Answer:
    """What the JIT said, checked. functions, slots: of the program. Raises InputError: who said what is wrong, and why."""
    if not isinstance(value, dict):
        raise InputError(who, "answer", "is no JSON object")
    if "unsupported" in value:
        return Answer(unsupported=str(value["unsupported"]) or "no reason given")
    if not isinstance(value.get("code"), str):
        raise InputError(who, "answer, field code", "must be the native code in hex")
    try:
        code = bytes.fromhex(value["code"])
    except ValueError:
        raise InputError(who, "answer, field code", "must be the native code in hex") from None
    if not 0 < len(code) <= MAX_CODE:
        raise InputError(who, "answer, field code", f"{len(code)} bytes, not 1 to {MAX_CODE}")
    starts = value.get("functions", [0])
    if not isinstance(starts, list) or len(starts) not in (1, functions):
        raise InputError(who, "answer, field functions", f"must be a list of {functions} offsets")
    if not all(type(one) is int and 0 <= one < len(code) for one in starts) or len(set(starts)) != len(
        starts
    ):
        raise InputError(who, "answer, field functions", "must be different offsets inside of the code")
    offsets = value.get("offsets", [])
    if not isinstance(offsets, list) or len(offsets) not in (0, slots):
        raise InputError(who, "answer, field offsets", f"must be a list of {slots} offsets")
    if not all(one is None or (type(one) is int and 0 <= one <= len(code)) for one in offsets):
        raise InputError(who, "answer, field offsets", "must be offsets inside of the code, or null")
    return Answer(code, tuple(starts), tuple(offsets))
