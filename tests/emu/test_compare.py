"""compare() reports the first point at which two outcomes part, whatever it is, and nothing when they agree."""

from dataclasses import replace

import pytest

from bpf.maps import MapSpec
from emu.compare import compare
from emu.outcome import CallRecord, Entry, Outcome, Pointer, RunResult, Trap, Violation

CALL = CallRecord(
    insn=7, callee="okf_sum7", kind="kfunc", args=(1, 2, 3, 4, 5, 6, 7), shown=(None,) * 7, ret=140, frame=0
)
RUN = RunResult("OK", 140, 140, b"\x00" * 16, b"\x01", (CALL, replace(CALL, insn=9)))
MAPS = (MapSpec("counts", 2, 4, 8, 1, dump=True),)
ONE = Outcome("interp", (RUN,), (((b"\x00" * 4, b"\x05" + b"\x00" * 7),),))


def other(run: RunResult = RUN, **changes: object) -> Outcome:
    return replace(ONE, engine="sandbox", runs=(run,), **changes)  # type: ignore[arg-type]


def test_equal_outcomes_have_no_difference() -> None:
    assert compare(ONE, other(), MAPS) is None


@pytest.mark.parametrize("position", range(7))
def test_each_argument_is_compared_and_named(position: int) -> None:
    args = [*CALL.args]
    args[position] ^= 1 << 63
    found = compare(ONE, other(replace(RUN, calls=(replace(CALL, args=tuple(args)), RUN.calls[1]))))
    assert found is not None
    assert (found.kind, found.argument, found.insn, found.call) == ("argument", position + 1, 7, 0)
    assert found.message.startswith(f"insn 7: argument {position + 1} of okf_sum7: interp ")


def test_pointers_compare_by_meaning_not_by_address() -> None:
    left = replace(
        CALL, args=(0xFFFFC900_000FFFF8, *CALL.args[1:]), shown=(Pointer("stack", 0, -8), *CALL.shown[1:])
    )
    right = replace(left, args=(0xFFFFC900_00203F50, *CALL.args[1:]))
    base = replace(ONE, runs=(replace(RUN, calls=(left,)),))
    assert compare(base, other(replace(RUN, calls=(right,)))) is None
    moved = replace(right, shown=(Pointer("stack", 0, -16), *CALL.shown[1:]))
    found = compare(base, other(replace(RUN, calls=(moved,))))
    assert found is not None
    assert (found.left, found.right) == ("fp0-8", "fp0-16")


@pytest.mark.parametrize(
    ("off", "native", "agree"),
    [
        (
            16,
            (0xFFFFC900_000FFFF0, Pointer("stack", 0, -16)),
            True,
        ),  # in the caller's frame, as native frames lie
        (-520, (0xFFFFC900_000FF000, None), True),
        (16, (0x10, None), False),
        (15, (0xFFFFC900_000FFFF0, Pointer("stack", 0, -16)), False),
        (-512, (0xFFFFC900_000FF000, None), False),
    ],
)
def test_a_pointer_that_left_its_frame_is_only_some_pointer_into_a_stack(
    off: int, native: tuple[int, Pointer | None], agree: bool
) -> None:
    word, shown = 0xFFFFC900_000F0000 + off, Pointer("stack", 1, off)
    left = replace(CALL, args=(word, *CALL.args[1:]), shown=(shown, *CALL.shown[1:]))
    right = replace(CALL, args=(native[0], *CALL.args[1:]), shown=(native[1], *CALL.shown[1:]))
    found = compare(replace(ONE, runs=(replace(RUN, calls=(left,)),)), other(replace(RUN, calls=(right,))))
    assert (found is None) == agree
    entry, seen = (Entry(1, 4, "f", (args[0], 2), (args[1], None), 0) for args in ((word, shown), native))
    base = replace(ONE, runs=(replace(RUN, entries=(entry,)),))
    assert (compare(base, other(replace(RUN, entries=(seen,)))) is None) == agree


def test_a_number_that_happens_to_be_an_address() -> None:
    """-0x40000000 is where the main function lies, in the sandbox only."""
    number = 0xFFFFFFFF_C0000000
    plain = replace(CALL, args=(number, *CALL.args[1:]))
    shown = replace(plain, shown=(Pointer("func", 0, 0), *CALL.shown[1:]))
    base = replace(ONE, runs=(replace(RUN, calls=(plain,)),))
    assert compare(base, other(replace(RUN, calls=(shown,)))) is None
    moved = replace(shown, args=(number + 8, *CALL.args[1:]))
    assert compare(base, other(replace(RUN, calls=(moved,)))) is not None
    entry = Entry(1, 4, "f", (number, 2), (None, None), 0)
    seen = replace(entry, shown=(Pointer("func", 0, 0), None))
    left, right = (replace(ONE, runs=(replace(RUN, calls=(), entries=(one,)),)) for one in (entry, seen))
    assert compare(left, right) is None


def test_the_first_call_explains_a_wrong_result() -> None:
    wrong = replace(CALL, args=(0, *CALL.args[1:]), ret=139)
    found = compare(ONE, other(replace(RUN, calls=(wrong, RUN.calls[1]), retval=139, r0=139)))
    assert found is not None
    assert found.kind == "argument"


CASES = {
    "retval": replace(RUN, retval=1, r0=1),
    "errno": replace(RUN, errno="EINVAL"),
    "data_out": replace(RUN, data_out=b"\x00" * 15 + b"\x01"),
    "ctx_out": replace(RUN, ctx_out=b"\x02"),
    "result": replace(RUN, calls=(CALL, replace(RUN.calls[1], ret=1))),
    "callee": replace(RUN, calls=(replace(CALL, callee="okf_sum8"), RUN.calls[1])),
    "calls": replace(RUN, calls=(CALL,)),
    "trap": replace(RUN, trap=Trap("access", 3, "insn 3: bad")),
    "violation": replace(
        RUN, violations=(Violation("rsp", None, "main", 0x10, 8, 16, "main: rsp is off by 8"),)
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_kinds(kind: str) -> None:
    found = compare(ONE, other(CASES[kind]), MAPS)
    assert found is not None
    assert found.kind == kind
    assert "\n" not in found.message


def test_traps_of_the_same_kind_at_the_same_instruction_agree() -> None:
    left = replace(RUN, trap=Trap("divide", 3, "insn 3: x"))
    right = replace(RUN, trap=Trap("divide", 3, "insn 3: native words", native=0x1000))
    assert compare(replace(ONE, runs=(left,)), other(right)) is None
    elsewhere = replace(RUN, trap=Trap("divide", 4, "insn 4: x"))
    found = compare(replace(ONE, runs=(left,)), other(elsewhere))
    assert found is not None
    assert found.kind == "trap"


def test_maps_name_the_key_and_the_byte() -> None:
    found = compare(ONE, other(maps=(((b"\x00" * 4, b"\x05\x00\x00\x09" + b"\x00" * 4),),)), MAPS)
    assert found is not None
    assert found.kind == "map"
    assert found.message == (
        "map counts, key 00000000: interp 0000000000 at byte 3 of 8, sandbox 0900000000 at byte 3 of 8"
    )
    missing = compare(ONE, other(maps=((),)), MAPS)
    assert missing is not None
    assert (missing.left, missing.right) == ("has it", "has it not")


def test_runs_that_were_cut_off_end_alike_wherever_they_were() -> None:
    """One engine counts instructions and the other time: neither place nor number of calls nor maps tell anything."""
    left = RunResult(
        "OK", 0, 0, calls=(CALL, CALL), trap=Trap("budget", 3, "insn 3: more than 5 instructions")
    )
    right = RunResult("OK", 0, 0, calls=(CALL,), trap=Trap("budget", 8, "insn 8: still running"))
    one = replace(ONE, runs=(left, RUN), maps=(((b"k", b"1"),),))
    another = replace(ONE, engine="sandbox", runs=(right, replace(RUN, retval=9)), maps=(((b"k", b"2"),),))
    assert compare(one, another, MAPS) is None
    wrong = replace(right, calls=(replace(CALL, args=(9, *CALL.args[1:])),))
    found = compare(one, replace(another, runs=(wrong, RUN)), MAPS)
    assert found is not None
    assert found.kind == "argument"
