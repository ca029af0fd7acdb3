"""One step back, a whole run of them at once, links between scalars, dead slots, and jumps that constants decide."""

import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import isa
from bpf.asm import assemble
from bpf.insn import Insn
from verifier.backtrack import Backtrack, NotTracked, Runs, simple_step, step_back
from verifier.clean import clean_verifier_state
from verifier.constfold import CONST, Held, prune_dead_branches
from verifier.links import LINKED_REGS_MAX, collect_linked_regs, sync_linked_regs
from verifier.num import UNKNOWN, from_urange
from verifier.regs import BPF_ADD_CONST64, PTR_TO_STACK, SCALAR_VALUE, Reg, const_reg
from verifier.state import (
    INSN_F_STACK_ACCESS,
    INSN_F_STACK_ARG_ACCESS,
    MISC_BYTES,
    POISON_BYTES,
    SPILL_BYTES,
    STACK_MISC,
    STACK_POISON,
    STACK_SPILL,
    FuncState,
    HistEntry,
    LinkedReg,
    Slot,
    VState,
)

SIMPLE = (
    "r1 = 5", "r2 = r1", "r3 += r2", "r3 += 7", "w4 = w3", "r4 = -r4", "r5 = be16 r5", "r6 = *(u64 *)(r7 +0)",
    "if r1 == 3 goto pc+0", "if r1 > r2 goto pc+0", "goto pc+0", "r8 = 0x123456789 ll", "r9 <<= r1", "r9 s>>= 3",
)  # fmt: skip
INSNS = tuple(insn for text in SIMPLE for insn in assemble(text))
MASKS = st.integers(0, (1 << 10) - 1)


def _env(insns: Any) -> Any:
    return SimpleNamespace(insns=insns, verbose2=False)


def _wanting(mask: int, frame: int = 0) -> Backtrack:
    bt = Backtrack(frame)
    bt.regs[frame] = mask
    return bt


@given(st.integers(0, len(INSNS) - 1), MASKS)
def test_a_simple_step_is_the_step(at: int, mask: int) -> None:
    step = simple_step(INSNS[at])
    assert step is not None
    bt = _wanting(mask)
    step_back(_env(INSNS), bt, at, at + 1, None)
    assert bt.regs[0] == (mask & ~step[1] | step[2] if mask & step[0] else mask)
    assert not bt.slots[0]


@given(st.lists(st.integers(0, len(INSNS) - 1), min_size=1, max_size=12), MASKS)
def test_a_run_is_its_steps_one_by_one(chosen: list[int], mask: int) -> None:
    insns = [INSNS[at] for at in chosen]
    runs = Runs([simple_step(insn) for insn in insns])
    bt = _wanting(mask)
    for at in range(len(insns) - 1, -1, -1):
        step_back(_env(insns), bt, at, at + 1, None)
    for _ in range(2):  # found, and kept
        assert runs.before(len(insns) - 1, 0, mask) == bt.regs[0]


@pytest.mark.parametrize("text", ["*(u64 *)(r1 +0) = r2", "call 7", "exit", "r0 = *(u8 *)skb[0]"])
def test_a_run_ends_where_more_has_to_be_looked_at(text: str) -> None:
    insns = [*assemble("r1 = 1"), *assemble(text), *assemble("r2 = 2"), *assemble("r3 = 3")]
    runs = Runs([simple_step(insn) for insn in insns])
    assert runs.low(3, 0, None) == 2
    assert runs.low(1, 0, None) > 1
    assert runs.low(0, 0, None) == 0


def test_a_note_ends_a_run_and_belongs_to_it_if_it_is_only_a_jump() -> None:
    runs = Runs([(0, 0, 0)] * 10)
    assert runs.low(9, 2, None) == 2
    assert runs.low(9, 2, HistEntry(5, 1)) == 5
    assert runs.low(9, 2, HistEntry(5, 4, INSN_F_STACK_ACCESS)) == 6
    assert runs.low(9, 2, HistEntry(5, 4, linked_regs=((0, True, 1), (0, True, 2)))) == 6


def _back(text: str, bt: Backtrack, hist: HistEntry | None = None) -> Backtrack:
    step_back(_env(assemble(text)), bt, 0, 1, hist)
    return bt


def test_a_fill_wants_the_slot_and_a_spill_the_register() -> None:
    note = HistEntry(0, -1, INSN_F_STACK_ACCESS, 0, 2)
    bt = _back("r3 = *(u64 *)(r10 -24)", _wanting(1 << 3), note)
    assert (bt.regs[0], bt.slots[0]) == (0, 1 << 2)
    bt = _back("*(u64 *)(r10 -24) = r4", bt, note)
    assert (bt.regs[0], bt.slots[0]) == (1 << 4, 0)
    bt = _back("*(u64 *)(r10 -16) = r4", _wanting(0), HistEntry(0, -1, INSN_F_STACK_ACCESS, 0, 1))
    assert bt.empty


def test_a_stack_argument_is_wanted_of_the_caller() -> None:
    note = HistEntry(0, -1, INSN_F_STACK_ARG_ACCESS, 0, 1)
    bt = _back("r3 = *(u64 *)(r11 +16)", _wanting(1 << 3, 1), note)
    assert (bt.regs[1], bt.args[0], bt.slots) == (0, 1 << 1, [0] * isa.MAX_CALL_FRAMES)
    bt.frame = 0
    bt = _back("*(u64 *)(r11 -16) = r6", bt, note)
    assert (bt.regs[0], bt.args[0]) == (1 << 6, 0)


def test_a_load_from_elsewhere_ends_the_walk() -> None:
    assert _back("r3 = *(u64 *)(r1 +0)", _wanting(1 << 3)).empty


@pytest.mark.parametrize("text", ["*(u64 *)(r3 +0) = r4", "r0 = *(u8 *)skb[0]"])
def test_what_cannot_be_followed(text: str) -> None:
    with pytest.raises(NotTracked):
        _back(text, _wanting(0b1001))


def test_registers_refined_together_are_wanted_together() -> None:
    linked: tuple[LinkedReg, ...] = ((0, True, 1), (0, False, 3))
    bt = _back("if r1 > 5 goto pc+0", _wanting(1 << 1), HistEntry(0, -1, linked_regs=linked))
    assert (bt.regs[0], bt.slots[0]) == (1 << 1, 1 << 3)
    assert _back("if r1 > 5 goto pc+0", _wanting(1 << 2), HistEntry(0, -1, linked_regs=linked)).slots[0] == 0


# ---- links


def _state(regs: dict[int, Reg], stack: list[Slot] | None = None) -> VState:
    frame = FuncState(-1, 0, 0)
    for number, reg in regs.items():
        frame.regs[number] = reg
    frame.stack = stack or []
    state = VState()
    state.frames = [frame]
    return state


def _linking(live: int = 0xFFFF) -> Any:
    scratch = SimpleNamespace(scratch_reg=lambda _: None, scratch_slot=lambda _: None)
    return SimpleNamespace(live_regs=[live], **scratch.__dict__)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(-100, 100).filter(bool))
def test_a_linked_register_keeps_its_distance(low: int, size: int, delta: int) -> None:
    far = Reg(SCALAR_VALUE, UNKNOWN, 5 | BPF_ADD_CONST64, delta=delta)
    state = _state({6: Reg(SCALAR_VALUE, from_urange(low, low + size), 5), 7: far}, [Slot(SPILL_BYTES, far)])
    linked: list[LinkedReg] = []
    collect_linked_regs(_linking(), state, 5, linked)
    sync_linked_regs(_linking(), state, 6, linked)
    frame = state.frames[0]
    for reg in (frame.regs[7], frame.stack[0].reg):
        assert all(reg.num.contains(word + delta & isa.U64) for word in (low, low + size // 2, low + size))
        assert (reg.id, reg.delta) == (far.id, delta)
        assert reg.num.smax - reg.num.smin <= size


def test_dead_registers_are_not_linked_and_who_finds_no_place_is_alone() -> None:
    reg = Reg(SCALAR_VALUE, UNKNOWN, 5)
    state = _state(dict.fromkeys(range(8), reg))
    linked: list[LinkedReg] = []
    collect_linked_regs(_linking(live=0xFE), state, 5, linked)
    assert linked == [(0, True, number) for number in range(1, 1 + LINKED_REGS_MAX)]
    assert [state.frames[0].regs[number].id for number in range(8)] == [5] * 6 + [0, 0]


# ---- dead slots


class _Alive:
    """A liveness that is known: one function, one mask."""

    def __init__(self, mask: int) -> None:
        self.depth, self.live, self.mask = 0, [[0]], mask

    def find(self, _state: VState, _frame: int) -> "_Alive":
        return self

    def live_before(self, _frame: int, _at: int) -> int:
        return self.mask


HALF = bytes([STACK_POISON]) * 4
SPILLED = bytes([STACK_SPILL]) * 4


@pytest.mark.parametrize(
    ("slot", "alive", "types", "keeps"),
    [
        pytest.param(Slot(SPILL_BYTES, const_reg(5)), 3, SPILL_BYTES, True, id="all of it is read"),
        pytest.param(Slot(SPILL_BYTES, const_reg(5)), 0, POISON_BYTES, False, id="nothing is read"),
        pytest.param(Slot(MISC_BYTES), 0, POISON_BYTES, False, id="nothing is read of bytes"),
        pytest.param(Slot(SPILL_BYTES, const_reg(5)), 2, HALF + SPILLED, True, id="the lower half is read"),
        pytest.param(
            Slot(SPILL_BYTES, const_reg(5)),
            1,
            bytes([STACK_MISC]) * 4 + HALF,
            False,
            id="the upper half is read",
        ),
        pytest.param(Slot(SPILL_BYTES, const_reg(0)), 1, SPILL_BYTES, True, id="a zero stays a zero"),
        pytest.param(
            Slot(SPILL_BYTES, Reg(PTR_TO_STACK)), 1, SPILL_BYTES, True, id="half a pointer stays the pointer"
        ),
    ],
)
def test_dead_halves_of_slots(slot: Slot, alive: int, types: bytes, keeps: bool) -> None:
    state = _state({}, [slot])
    env = _linking()
    env.live_stack = _Alive(alive)
    clean_verifier_state(env, state)
    after = state.frames[0].stack[0]
    assert after.types == types
    assert (after.reg is slot.reg) == keeps or slot.reg.type == 0


# ---- constants

# whether the numbers are signed, and what is asked of them
_CONDITIONS: dict[int, tuple[bool, Callable[[int, int], object]]] = {
    isa.JEQ: (False, operator.eq),
    isa.JNE: (False, operator.ne),
    isa.JGT: (False, operator.gt),
    isa.JGE: (False, operator.ge),
    isa.JLT: (False, operator.lt),
    isa.JLE: (False, operator.le),
    isa.JSET: (False, operator.and_),
    isa.JSGT: (True, operator.gt),
    isa.JSGE: (True, operator.ge),
    isa.JSLT: (True, operator.lt),
    isa.JSLE: (True, operator.le),
}
_S32 = st.one_of(st.integers(-3, 3), st.integers(-(1 << 31), (1 << 31) - 1))


@given(st.sampled_from(sorted(_CONDITIONS)), st.booleans(), st.integers(0, isa.U32) | st.integers(0, 3), _S32)
def test_a_decided_jump_goes_where_the_numbers_say(op: int, is32: bool, left: int, imm: int) -> None:
    width = 32 if is32 else 64
    cls = isa.JMP32 if is32 else isa.JMP
    state: tuple[Held, ...] = (None, (CONST, left, 0), *(None,) * 9)
    out = prune_dead_branches([Insn(cls | op, 1, 0, 7, imm)], [state], [0])
    is_signed, holds = _CONDITIONS[op]
    a, b = left & ((1 << width) - 1), imm & ((1 << width) - 1)
    taken = holds(isa.sext(a, width), isa.sext(b, width)) if is_signed else holds(a, b)
    assert out == (Insn(isa.OP_JA, 0, 0, 7 if taken else 0, 0),)


@pytest.mark.parametrize("held", [None, (CONST, 1 << 32, 0), (3, 5, 0)])
def test_an_undecided_jump_stays(held: Held) -> None:
    insn = Insn(isa.JMP | isa.JEQ, 1, 0, 7, 5)
    state: tuple[Held, ...] = (None, held, *(None,) * 9)
    assert prune_dead_branches([insn], [state], [0]) == (insn,)
