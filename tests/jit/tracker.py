"""An outside view of a frame: decodes native code and follows every push, pop and change of rsp through all branches.

Shares nothing with the JIT but the code itself.
"""

from dataclasses import dataclass
from typing import Final

from jit.decoder import new_decoder

DECODER = new_decoder()
_CALLEE_SAVED: Final = {"ebx": "rbx", "bx": "rbx", "bl": "rbx", "ebp": "rbp"}
_CALLEE_SAVED.update({name: name for name in ("rbx", "rbp", "r12", "r13", "r14", "r15")})
_CALLEE_SAVED.update({f"r{n}{end}": f"r{n}" for n in range(12, 16) for end in "dwb"})
_READ_ONLY: Final = ("cmp", "test", "push", "call")


@dataclass(frozen=True, slots=True)
class State:
    """depth: CFA - rsp. rbp: CFA - rbp, None while it holds the caller's. saved: register -> offset from the CFA of its
    value in the caller. pushed: other registers on the stack, the latest last."""

    depth: int
    rbp: int | None
    saved: tuple[tuple[str, int], ...]
    pushed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Insn:
    end: int
    name: str
    operands: tuple[str, ...]


ENTRY = State(8, None, (), ())


def track(code: bytes, fields: set[int], boundary: int = 0) -> dict[int, State]:
    """Native offset -> state before the instruction there, for all that can be reached.

    fields: offsets of relocations, whose jumps leave the function. boundary: CFA - rsp of the frame that an exception
    callback is given in rsi. Asserts that all ways to an instruction bring the same state, and that no callee-saved
    register is written that is not saved.
    """
    insns = {
        at: _Insn(at + size, name, tuple(text.split(", ")))
        for at, size, name, text in DECODER.disasm_lite(code, 0)
    }
    assert max((insn.end for insn in insns.values()), default=0) == len(code)
    found: dict[int, State] = {}
    work = [(0, ENTRY)]
    while work:
        at, state = work.pop()
        if at in found:
            assert found[at] == state, (hex(at), found[at], state)
            continue
        insn = insns[at]  # a KeyError here is a jump between instructions
        found[at] = state
        after = _step(insn, state, boundary)
        lost = (
            _written(insn) - {reg for reg, _ in after.saved} if insn.name not in ("pop", "leave") else set()
        )
        assert not lost, f"{at:#x}: {insn} writes {lost}"
        work += [(target, after) for target in _next(at, insn, fields)]
    return found


def _next(at: int, insn: _Insn, fields: set[int]) -> list[int]:
    if insn.name in ("ret", "int3"):
        return []
    if insn.name[0] != "j":
        return [insn.end]
    inside = insn.operands[0].startswith("0x") or insn.operands[0].isdigit()
    ways = [int(insn.operands[0], 0)] if inside and at + 1 not in fields else []
    return ways if insn.name == "jmp" else [*ways, insn.end]


def _step(insn: _Insn, state: State, boundary: int) -> State:
    depth, rbp, saved, pushed = state.depth, state.rbp, dict(state.saved), state.pushed
    match insn.name, insn.operands:
        case "push", (reg,):
            depth += 8
            if reg in _CALLEE_SAVED and reg not in saved:
                saved[reg] = -depth
            else:
                pushed = (*pushed, reg)
        case "pop", (reg,):
            if saved.get(reg) == -depth:
                del saved[reg]
            else:
                pushed = pushed[:-1]
            depth -= 8
        case "leave", _:
            assert rbp == 16
            del saved["rbp"]
            depth, rbp, pushed = 8, None, ()
        case "mov", ("rbp", "rsp"):
            rbp = depth
        case "mov", ("rsp", "rsi"):  # on to the frame of the main program
            depth, block = boundary, ("r15", "r14", "r13", "rbx", "r12")
            saved = {"rbp": -16} | {reg: 8 * k - boundary for k, reg in enumerate(block)}
        case "mov", ("rbp", "rdx"):
            rbp = 16
        case "mov", ("rsp", "rbp"):
            assert rbp is not None
            depth = rbp
        case (("sub" | "add"), ("rsp", number)):
            depth += int(number, 0) * (1 if insn.name == "sub" else -1)
        case _:
            assert insn.operands[0] not in ("rsp", "esp", "sp") or insn.name in _READ_ONLY, insn
    return State(depth, rbp, tuple(sorted(saved.items())), pushed)


def _written(insn: _Insn) -> set[str]:
    """Callee-saved registers that an instruction writes, whole or in part."""
    if insn.name in _READ_ONLY or insn.name[0] == "j":
        return set()
    both = "xchg" in insn.name or "xadd" in insn.name
    return {_CALLEE_SAVED[reg] for reg in insn.operands[: 2 if both else 1] if reg in _CALLEE_SAVED}
