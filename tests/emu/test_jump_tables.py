"""gotox in both engines: where a jump table leads, what a hostile one does, and what strict mode says of a lost entry."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bpf import asm
from bpf.errors import InputError
from bpf.maps import MapSpec, MapType
from bpf.program import Program, Request, RunInput
from bpf.verified import Rejected, Verified
from emu.fuzz.generators.code import jump_table
from emu.interp import Interpreter
from emu.outcome import CODE, Pointer
from emu.pipeline import Options, Pipeline
from emu.runtime.world import World
from verifier import verify

SWITCH = """prog type syscall license GPL flags 16
map t: insn_array key 4 value 16 max {count} freeze
int main(void *ctx):
r0 = *(u64 *)(r1 +0)
r0 &= {mask}
r0 <<= 3
r1 = map[t][0]+0
r1 += r0
r1 = *(u64 *)(r1 +0)
gotox r1
r0 = 10
exit
r0 = 11
exit
r0 = 12
exit
r0 = 13
exit
"""
FIRST = 8  # of the instructions behind the gotox


def switch(*ways: int, mask: int = 3, text: str = SWITCH, first: int = FIRST) -> Program:
    """Entries lead to these of the four ways; behind them is one for each way, so that every instruction can be reached."""
    entries = [first + 2 * way for way in (*ways, 0, 1, 2, 3)]
    program = asm.parse(text.format(count=len(entries), mask=mask), "t").program
    return replace(program, maps=(replace(jump_table(0, entries), name="t"),))


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(Options())
    yield made
    made.close()


def runs(*numbers: int) -> tuple[RunInput, ...]:
    return tuple(RunInput(ctx_in=number.to_bytes(8, "little")) for number in numbers)


@pytest.mark.parametrize("quick", [False, True])
def test_every_entry_leads_where_it_says(quick: bool) -> None:
    pipeline = Pipeline(Options(quick=quick))
    case = pipeline.run(Request(switch(2, 0, 3, 0), runs(0, 1, 2, 3, 4)))
    assert case.difference is None
    assert case.error is None
    for outcome in (case.interp, case.sandbox):
        assert outcome is not None
        assert [run.retval for run in outcome.runs] == [12, 10, 13, 10, 12]
    pipeline.close()


def test_all_addresses_of_a_table_are_in_the_code(pipeline: Pipeline) -> None:
    program = switch(2, 0, 3, 0)
    case = pipeline.run(Request(program, runs(0)))
    assert isinstance(case.verdict, Verified)
    sandbox = pipeline.sandbox(pipeline.machine, 2.0, program, case.image, {})  # type: ignore[arg-type]
    (table,) = sandbox.world.jump_tables()
    words = [int.from_bytes(table.view[at : at + 8], "little") for at in range(0, 32, 8)]
    sites = [sandbox.code.site(word) for word in words]
    assert [site.insn for site in sites if site] == [FIRST + 4, FIRST, FIRST + 6, FIRST]
    assert table.contents() == program.maps[0].elems


def test_a_number_that_no_table_holds_stops_both_engines() -> None:
    program = switch(0, mask=0, text=SWITCH.replace("gotox r1", "r1 += 1\ngotox r1"), first=FIRST + 1)
    assert isinstance(verify(program), Rejected)
    wild = Pipeline(Options(unverified=True, explain=False))
    case = wild.run(Request(program, runs(0)))
    assert case.interp is not None
    trap = case.interp.runs[0].trap
    assert trap is not None
    assert (trap.kind, trap.insn) == ("fetch", FIRST)
    assert f"{CODE + 8 * (FIRST + 1) + 1:#x}, no entry of a jump table" in trap.message
    assert case.difference is not None
    wild.close()


@pytest.mark.parametrize("value", ["7", "-8", "0xdead0bad00000000 ll", "map[t][0]+0"])
def test_hostile_targets_trap(value: str) -> None:
    length = 2 if " " in value or "map" in value else 1
    text = SWITCH.replace("gotox r1", f"r1 = {value}\ngotox r1")
    program = switch(0, mask=0, text=text, first=FIRST + length)
    wild = Pipeline(Options(unverified=True, explain=False))
    case = wild.run(Request(program, runs(0)))
    for outcome in (case.interp, case.sandbox):
        assert outcome is not None
        trap = outcome.runs[0].trap
        assert trap is not None
        assert trap.kind == "fetch"
    wild.close()


def test_code_pointers_compare_as_instructions(pipeline: Pipeline) -> None:
    """A static function is passed what a table holds, and gives it back: another address in each engine, and no difference."""
    program = asm.parse(
        "prog type syscall license GPL flags 16\nmap t: insn_array key 4 value 16 max 1 freeze\n"
        "    elem 00000000 = 06000000000000000000000000000000\n"
        "int main(void *ctx):\nr1 = map[t][0]+0\nr1 = *(u64 *)(r1 +0)\nr6 = r1\ncall f\ngotox r6\nr0 = 3\nexit\n"
        "static void *f(void *p):\nr0 = r1\nexit\n",
        "t",
    ).program
    case = pipeline.run(Request(program, runs(0)))
    assert case.interp is not None
    assert case.sandbox is not None
    assert case.difference is None
    shown = [outcome.runs[0].entries[0].shown[0] for outcome in (case.interp, case.sandbox)]
    assert shown == [Pointer("code", 6, 0)] * 2
    assert str(shown[0]) == "insn#6"
    values = [outcome.runs[0].entries[0].args[0] for outcome in (case.interp, case.sandbox)]
    assert values[0] != values[1]


# goto +0 is removed, and leaves a 0 in the table: a real 7.3.4 kernel panics there (RIP: 0010:0x0)
LOST = SWITCH.replace("r0 = 11\n", "goto l\nl:\n")


def test_an_entry_that_is_removed_leads_nowhere(pipeline: Pipeline) -> None:
    case = pipeline.run(Request(switch(0, 1, mask=1, text=LOST), runs(0, 1)))
    assert case.sandbox is not None
    assert case.interp is not None
    assert [run.trap and run.trap.kind for run in case.sandbox.runs] == [None, "fetch"]
    assert [run.retval for run in case.interp.runs] == [10, 8]  # r0 is the distance in the table there


def test_strict_mode_refuses_an_entry_that_is_removed() -> None:
    verdict = verify(switch(0, 1, mask=1, text=LOST), mode="strict")
    assert isinstance(verdict, Rejected)
    assert verdict.insn == FIRST + 2
    assert "insn 10, which does nothing and is removed" in (verdict.message or "")
    assert isinstance(verify(switch(0, 2, mask=1, text=LOST), mode="strict"), Verified)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"key_size": 8}, "key_size is 8, must be 4 (EINVAL)"),
        ({"value_size": 8}, "value_size is 8, must be 16 (EINVAL)"),
        ({"max_entries": 0}, "max_entries is 0 (EINVAL)"),
        ({"flags": 1}, "flags 0x1 are not allowed (EINVAL)"),
        ({"elems": ((bytes(4), bytes(8) + b"\1" + bytes(7)),)}, "cannot be set: error 22 (EINVAL)"),
        ({"elems": ((b"\x09" + bytes(3), bytes(16)),)}, "cannot be set: error 7 (E2BIG)"),
    ],
)
def test_what_is_no_jump_table(changes: dict[str, object], why: str) -> None:
    spec = replace(MapSpec("t", MapType.INSN_ARRAY, 4, 16, 2), **changes)  # type: ignore[arg-type]
    program = replace(switch(0), maps=(spec,))
    with pytest.raises(InputError) as raised:
        World(program)
    assert str(raised.value).endswith(why)


def test_user_space_sees_what_it_wrote() -> None:
    world = World(switch(0, 1, mask=1))
    (table,) = world.jump_tables()
    Interpreter(world).run(runs(0)[0])
    assert table.targets == [FIRST + 2 * way for way in (0, 1, 0, 1, 2, 3)]
    assert table.put(bytes(4), bytes(16)) == -1  # it is frozen
    assert table.update(bytes(4), bytes(16), 1) == -17
    assert table.delete(bytes(4)) == -22
    assert world.contents()[0][1] == (b"\1\0\0\0", (FIRST + 2).to_bytes(16, "little"))
