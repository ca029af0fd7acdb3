"""When an old state covers a new one: the order on registers, slots and states, and what it promises."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from verifier.compare import (
    EXACT,
    NOT_EXACT,
    RANGE_WITHIN,
    IdMap,
    regsafe,
    states_equal,
    states_maybe_looping,
)
from verifier.num import UNKNOWN, Num, const, from_srange, from_urange
from verifier.regs import BPF_ADD_CONST64, NOT_INIT_REG, PTR_TO_MAP_VALUE, PTR_TO_STACK, SCALAR_VALUE, Reg
from verifier.state import (
    MISC_SLOT,
    SPILL_BYTES,
    STACK_INVALID,
    STACK_MISC,
    STACK_POISON,
    STACK_ZERO,
    ZERO_SLOT,
    FuncState,
    Slot,
    VState,
)

WORDS = st.one_of(
    st.integers(0, 20), st.integers((1 << 64) - 20, (1 << 64) - 1), st.integers(0, (1 << 64) - 1)
)
ENV: Any = SimpleNamespace(live_regs=[0xFFFF], id_gen=100)


def _between(low: int, high: int) -> Num:
    return from_urange(min(low, high), max(low, high))


def _around(low: int, size: int) -> Num:
    return from_srange(low - size, low)


NUMS = st.one_of(
    st.just(UNKNOWN),
    WORDS.map(const),
    st.builds(_between, WORDS, WORDS),
    st.builds(_around, st.integers(-20, 20), st.integers(0, 50)),
)
PRECISE = st.builds(Reg, st.just(SCALAR_VALUE), NUMS, precise=st.just(True))
SCALARS = st.builds(Reg, st.just(SCALAR_VALUE), NUMS, st.sampled_from((0, 0, 1, 2, 3)), precise=st.booleans())
POINTERS = st.one_of(
    st.builds(Reg, st.just(PTR_TO_STACK), st.integers(-64, -1).map(const)),
    st.builds(
        Reg,
        st.just(PTR_TO_MAP_VALUE),
        st.integers(0, 9).map(const),
        st.sampled_from((0, 4, 5)),
        aux=st.just((1, 0)),
    ),
)
REGS = st.one_of(st.just(NOT_INIT_REG), SCALARS, POINTERS)
BYTES = st.lists(
    st.sampled_from((STACK_INVALID, STACK_MISC, STACK_ZERO, STACK_POISON)), min_size=8, max_size=8
).map(bytes)
SLOTS = st.one_of(BYTES.map(Slot), st.builds(Slot, st.just(SPILL_BYTES), st.one_of(SCALARS, POINTERS)))


@st.composite
def states(draw: st.DrawFn) -> VState:
    frame = FuncState(-1, 0, 0)
    frame.regs[:10] = draw(st.lists(REGS, min_size=10, max_size=10))
    frame.stack = draw(st.lists(SLOTS, max_size=3))
    frame.stack_args = draw(st.lists(REGS, max_size=2))
    state = VState()
    state.frames = [frame]
    return state


def _words(num: Num) -> list[int]:
    """Some of its words: those at the ends of its ranges and of its bits, and a few between."""
    top = (1 << 64) - 1
    likely = {num.value, num.value | num.mask, num.base, (num.base + num.size) & top}
    likely |= {(num.base + num.size * part // 7) & top for part in range(8)}
    return [word for word in likely if num.contains(word)]


@given(states(), st.sampled_from((NOT_EXACT, EXACT, RANGE_WITHIN)))
def test_every_state_covers_itself(state: VState, exact: int) -> None:
    assert states_equal(ENV, state, state.copy(), exact)
    assert states_maybe_looping(state, state.copy())


@given(PRECISE, PRECISE)
def test_what_is_covered_is_a_subset(old: Reg, cur: Reg) -> None:
    if regsafe(old, cur, IdMap(0), NOT_EXACT):
        assert all(old.num.contains(word) for word in _words(cur.num))


@given(SCALARS, SCALARS)
def test_within_a_loop_imprecise_numbers_are_a_subset_too(old: Reg, cur: Reg) -> None:
    if regsafe(old, cur, IdMap(0), RANGE_WITHIN):
        assert all(old.num.contains(word) for word in _words(cur.num))


@given(PRECISE, PRECISE, PRECISE)
def test_covering_is_transitive(a: Reg, b: Reg, c: Reg) -> None:
    if regsafe(a, b, IdMap(0), NOT_EXACT) and regsafe(b, c, IdMap(0), NOT_EXACT):
        assert regsafe(a, c, IdMap(0), NOT_EXACT)


@given(PRECISE, PRECISE)
def test_two_that_cover_each_other_mean_the_same(a: Reg, b: Reg) -> None:
    if regsafe(a, b, IdMap(0), NOT_EXACT) and regsafe(b, a, IdMap(0), NOT_EXACT):
        assert all(b.num.contains(word) for word in _words(a.num))
        assert all(a.num.contains(word) for word in _words(b.num))


@given(states(), states(), st.sampled_from((NOT_EXACT, EXACT, RANGE_WITHIN)))
def test_where_it_failed_last_time_changes_no_answer(old: VState, cur: VState, exact: int) -> None:
    first = states_equal(ENV, old, cur, exact)
    assert states_equal(ENV, old, cur, exact) == first
    assert states_equal(ENV, old, old.copy(), exact)


@given(states(), states())
def test_exactly_equal_is_the_strictest(old: VState, cur: VState) -> None:
    if states_equal(ENV, old, cur, EXACT):
        assert states_equal(ENV, old, cur, RANGE_WITHIN)
    if states_equal(ENV, old, cur, RANGE_WITHIN):
        assert states_equal(ENV, old, cur, NOT_EXACT)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_ids_stand_for_each_other_one_to_one(pairs: list[tuple[int, int]]) -> None:
    ids = IdMap(100)
    held = [pair for pair in pairs if ids.check(*pair)]
    olds, curs = dict(held), {cur: old for old, cur in held}
    assert all(olds[old] == cur and curs[cur] == old for old, cur in held)
    assert all((old == 0) == (cur == 0) for old, cur in held)


def test_a_state_that_a_mark_makes_stricter() -> None:
    """A mark that comes later is not overlooked because an earlier comparison failed elsewhere."""
    old, cur = _state(Reg(SCALAR_VALUE, const(1))), _state(Reg(SCALAR_VALUE, const(2)))
    assert states_equal(ENV, old, cur, NOT_EXACT)
    old.frames[0].regs[6] = old.frames[0].regs[6].with_precise(True)
    assert not states_equal(ENV, old, cur, NOT_EXACT)
    cur.frames[0].regs[6] = Reg(SCALAR_VALUE, const(1))
    assert states_equal(ENV, old, cur, NOT_EXACT)


def test_dead_registers_do_not_matter() -> None:
    pointer, cur = Reg(PTR_TO_STACK, const(-8)), _state(Reg(SCALAR_VALUE, const(2)))
    dead: Any = SimpleNamespace(live_regs=[0xFFFF & ~(1 << 6)], id_gen=100)
    assert not states_equal(ENV, _state(pointer), cur, NOT_EXACT)
    assert states_equal(dead, _state(pointer), cur, NOT_EXACT)


def test_linked_numbers_cover_only_linked_ones() -> None:
    linked = [Reg(SCALAR_VALUE, UNKNOWN, 7, precise=True)] * 2
    apart = [Reg(SCALAR_VALUE, UNKNOWN, 8), Reg(SCALAR_VALUE, UNKNOWN, 9)]
    assert not states_equal(ENV, _state(*linked), _state(*apart), NOT_EXACT)
    assert states_equal(ENV, _state(*linked), _state(apart[0], apart[0]), NOT_EXACT)
    far = [Reg(SCALAR_VALUE, UNKNOWN, 7 | BPF_ADD_CONST64, delta=4, precise=True), linked[0]]
    near = [Reg(SCALAR_VALUE, UNKNOWN, 7 | BPF_ADD_CONST64, delta=3), linked[0]]
    assert not states_equal(ENV, _state(*far), _state(*near), NOT_EXACT)


def test_bytes_that_read_as_any_number_cover_spilled_numbers() -> None:
    spilled = Slot(SPILL_BYTES, Reg(SCALAR_VALUE, UNKNOWN))
    assert _slots_equal([MISC_SLOT], [spilled])
    assert _slots_equal([spilled], [MISC_SLOT])
    assert not _slots_equal([ZERO_SLOT], [MISC_SLOT])
    assert not _slots_equal([Slot(SPILL_BYTES, Reg(PTR_TO_STACK, const(-8)))], [MISC_SLOT])


def test_a_stack_argument_that_was_stored_must_be_stored_again() -> None:
    old, cur = _state(), _state()
    old.frames[0].stack_args = [Reg(SCALAR_VALUE, const(6))]
    assert not states_equal(ENV, old, cur, NOT_EXACT)
    assert states_equal(ENV, cur, old, NOT_EXACT)


def _state(*regs: Reg) -> VState:
    """A state whose r6, r7, ... are these."""
    frame = FuncState(-1, 0, 0)
    frame.regs[6 : 6 + len(regs)] = regs
    state = VState()
    state.frames = [frame]
    return state


def _slots_equal(old: list[Slot], cur: list[Slot]) -> bool:
    a, b = _state(), _state()
    a.frames[0].stack, b.frames[0].stack = old, cur
    return states_equal(ENV, a, b, NOT_EXACT)
