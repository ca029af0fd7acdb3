"""Which call an argument is for: straight lines, branches, loops, calls in between, and what nobody takes."""

import pytest

from bpf import asm
from bpf.verified import Verified
from jit import compile_program
from jit.argflow import ArgumentFlow, Incoming, Outgoing, argument_place
from jit.listing import render
from verifier import assume

_HEAD = "prog syscall\nint main(void *ctx):\n"
_FUNCTIONS = {
    "bar": """static u64 bar(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g):
    r0 = *(u64 *)(r11 +8)
    r1 = *(u64 *)(r11 +16)
    r0 += r1
    exit
""",
    "baz": """static u64 baz(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f):
    r0 = 0
    exit
""",
    "two": """static u64 two(u64 a, u64 b):
    r0 = 0
    exit
""",
}


def _with_functions(text: str) -> Verified:
    """A program with those functions behind it that it calls; a function that nobody calls is none."""
    functions = "".join(body for name, body in _FUNCTIONS.items() if f"call {name}\n" in text)
    return assume(asm.parse(text + functions, "t").program)


def _flow(body: str) -> ArgumentFlow:
    return ArgumentFlow(_with_functions(_HEAD + body), 0)


def _named(body: str) -> dict[int, str]:
    """Slot of the main function -> `7: bar` for what it puts."""
    flow = _flow(body)
    found = {}
    for slot in range(flow.sub.end):
        for move in flow.moves(slot):
            assert isinstance(move, Outgoing)
            found[slot] = f"{move.argument}: {flow.names(move)}"
    return found


def test_the_next_call_that_takes_it() -> None:
    found = _named("""
    *(u64 *)(r11 -16) = 7
    *(u64 *)(r11 -8) = 6
    r1 = 1
    call bar
    r1 = 1
    r2 = 2
    r3 = 3
    call two
    exit
    """)
    assert found == {0: "7: bar", 1: "6: bar", 2: "1: bar", 4: "1: two", 5: "2: two"}


def test_a_store_that_is_overwritten_or_lost_in_a_call_is_for_no_call() -> None:
    found = _named("""
    *(u64 *)(r11 -16) = 1
    *(u64 *)(r11 -16) = 7
    *(u64 *)(r11 -8) = 6
    call two
    *(u64 *)(r11 -8) = 6
    call bar
    exit
    """)
    assert found == {0: "7: no call", 1: "7: no call", 2: "6: no call", 4: "6: bar"}


def test_two_ways_two_calls() -> None:
    found = _named("""
    *(u64 *)(r11 -8) = 6
    r3 = 0
    if r1 == 0 goto other
    *(u64 *)(r11 -16) = 7
    call bar
    r0 = 0
    exit
    other:
    call baz
    exit
    """)
    assert found == {0: "6: bar or baz", 1: "3: bar or baz", 3: "7: bar"}


def test_a_loop_brings_it_to_a_call_before_it() -> None:
    found = _named("""
    r6 = 5
    again:
    *(u64 *)(r11 -8) = 6
    *(u64 *)(r11 -16) = 7
    call bar
    *(u64 *)(r11 -8) = 16
    r6 += -1
    if r6 == 0 goto done
    *(u64 *)(r11 -16) = 17
    call bar
    goto again
    done:
    call baz
    exit
    """)
    assert found[4] == "6: bar or baz"
    assert found[7] == "7: bar"


def test_ld_abs_takes_registers_and_leaves_slots() -> None:
    text = """prog tc
int main(void *ctx):
    r6 = r1
    *(u64 *)(r11 -8) = 6
    r3 = 3
    r0 = *(u8 *)skb[0]
    r4 = 4
    call baz
    exit
"""
    flow = ArgumentFlow(_with_functions(text), 0)
    found = {
        flow.names(move) + str(move.argument)
        for slot in range(flow.sub.end)
        for move in flow.moves(slot)
        if isinstance(move, Outgoing)
    }
    assert {"baz6", "baz4"} <= found


def test_places_of_incoming_and_outgoing_arguments() -> None:
    verified = _with_functions(_HEAD + "    *(u64 *)(r11 -16) = 7\n    call bar\n    exit\n")
    image = compile_program(verified)
    assert argument_place(image, 0, 0, Outgoing(7, (1,))) == "[rsp+0x0]"
    assert argument_place(image, 0, 0, Outgoing(6, (1,))) == "r9"
    assert argument_place(image, 0, 0, Outgoing(2, (1,))) == "rsi"
    bar = ArgumentFlow(verified, 1)
    assert bar.moves(3) == (Incoming(6),)
    assert argument_place(image, 1, 4, Incoming(7)) == "[rbp+0x10]"
    assert argument_place(image, 0, 0, Outgoing(9, ())) == "?"


@pytest.mark.parametrize("count", [2, 9])
def test_many_callees_are_cut_and_the_place_stays(count: int) -> None:
    calls = "".join(f"    if r1 == {n} goto l{n}\n" for n in range(count))
    ends = "".join(f"    l{n}:\n    call function_with_a_name_{n}\n    exit\n" for n in range(count))
    functions = "".join(
        f"static u64 function_with_a_name_{n}(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g):\n    r0 = 0\n    exit\n"
        for n in range(count)
    )
    text = f"{_HEAD}    *(u64 *)(r11 -16) = 7\n{calls}    exit\n{ends}{functions}"
    shown = render(compile_program(assume(asm.parse(text, "t").program)))
    line = next(line for line in shown.splitlines() if "arg 7 of" in line)
    assert line.endswith(" -> [rsp+0x0]")
    assert "…" in line
