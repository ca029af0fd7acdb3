"""Stack depth: through which pointers it is seen, and where it gives up."""

import pytest

from tests.verifier.kit import accepted, program
from verifier import assume

CALLEE = "static long s(long *p):\n"

DEPTHS = [
    ("none", "r0 = 0\nexit", [0]),
    ("byte", "*(u8 *)(r10 - 1) = 1\nr0 = 0\nexit", [8]),
    ("load", "r0 = *(u64 *)(r10 - 24)\nexit", [24]),
    ("moved", "r2 = r10\nr2 += -40\n*(u64 *)(r2 + 8) = 1\nr0 = 0\nexit", [32]),
    ("made-only", "r2 = r10\nr2 += -40\nr0 = 0\nexit", [0]),
    ("subtracted", "r2 = r10\nr2 -= 40\n*(u64 *)(r2 + 0) = 1\nr0 = 0\nexit", [40]),
    ("either", "r2 = r10\nif r1 == 0 goto +1\nr2 += -8\nr3 = *(u64 *)(r2 - 16)\nr0 = 0\nexit", [24]),
    ("variable", "r3 = 0\nr2 = r10\nr2 += r3\n*(u64 *)(r2 - 8) = 1\nr0 = 0\nexit", [512]),
    (
        "helper",
        (
            "map m: array key 4 value 8 max 1\nprog tc\nint main(void *ctx):\nr2 = r10\nr2 += -16\nr1 = map[m]\n"
            "call bpf_map_lookup_elem\nr0 = 0\nexit\n"
        ),
        [16],
    ),
    (
        "callee",
        "r1 = r10\nr1 += -8\ncall s\nexit\n" + CALLEE + "*(u64 *)(r1 - 32) = 1\nr0 = 0\nexit\n",
        [40, 0],
    ),
    ("callee-ignores", "r1 = r10\nr1 += -8\ncall s\nexit\n" + CALLEE + "r0 = 0\nexit\n", [0, 0]),
    (
        "stack-argument",
        (
            "r1 = r10\nr1 += -64\n*(u64 *)(r11 - 8) = r1\nr1 = 1\nr2 = 1\nr3 = 1\nr4 = 1\nr5 = 1\ncall s\nexit\n"
            "static long s(long a, long b, long c, long d, long e, long *f):\nr1 = *(u64 *)(r11 + 8)\n"
            "r0 = *(u64 *)(r1 + 16)\nexit\n"
        ),
        [48, 0],
    ),
    (
        "spilled",
        "r2 = r10\nr2 += -8\n*(u64 *)(r10 - 16) = r2\nr3 = *(u64 *)(r10 - 16)\nr0 = *(u64 *)(r3 - 64)\nexit",
        [512],
    ),
    ("may-goto", "*(u64 *)(r10 - 8) = 1\nback:\nmay_goto done\ngoto back\ndone:\nr0 = 0\nexit", [24]),
]


# What following the paths finds out where the estimate gives up, or takes what may be for what is.
EXACT = {"made-only": [0], "variable": [8], "spilled": [72], "callee-ignores": [0, 0]}
REFUSED = {"subtracted"}


@pytest.mark.parametrize(("text", "depths"), [row[1:] for row in DEPTHS], ids=[row[0] for row in DEPTHS])
def test_estimate_without_verification(text: str, depths: list[int]) -> None:
    assert [sub.stack_depth for sub in assume(program(text)).subprogs] == depths


@pytest.mark.parametrize(
    ("name", "text", "depths"),
    [row for row in DEPTHS if row[0] not in REFUSED],
    ids=lambda one: str(one)[:12],
)
def test_depth_of_an_accepted_program(name: str, text: str, depths: list[int]) -> None:
    assert [sub.stack_depth for sub in accepted(text).subprogs] == EXACT.get(name, depths)


def test_slots_of_a_function_are_the_most_that_a_call_needs() -> None:
    args = "r1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\n"
    stores = "*(u64 *)(r11 - 8) = 6\n*(u64 *)(r11 - 16) = 7\n*(u64 *)(r11 - 24) = 8\n"
    text = stores + args + "call eight\n" + stores[:22] + args + "call six\nexit\n"
    text += (
        "static long eight(long a, long b, long c, long d, long e, long f, long g, long h):\nr0 = 0\nexit\n"
    )
    text += "static long six(long a, long b, long c, long d, long e, long f):\nr0 = 0\nexit\n"
    main, eight, six = accepted(text).subprogs
    assert (main.in_stack_args, main.out_stack_args) == (0, 3)
    assert (eight.in_stack_args, eight.out_stack_args, eight.arg_cnt) == (3, 0, 8)
    assert (six.in_stack_args, six.out_stack_args, six.kind) == (1, 0, "static")
