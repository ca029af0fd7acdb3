"""The part of its context that a program accesses, and runs whose context is shorter."""

import pytest

from bpf.asm import assemble
from bpf.program import Program, RunInput
from emu.interp import Interpreter
from emu.runtime.reach import ctx_reach
from emu.runtime.world import World


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("r0 = *(u32 *)(r1 + 8)\nexit", 12),
        ("r6 = r1\nr0 = *(u8 *)(r6 + 3)\n*(u64 *)(r6 + 16) = 1\nexit", 24),
        ("r6 = r1\nr6 += 8\nr6 -= 4\nr0 = *(u32 *)(r6 + 0)\nexit", 8),
        ("*(u64 *)(r10 - 8) = r1\nr2 = *(u64 *)(r10 - 8)\nr0 = *(u32 *)(r2 + 4)\nexit", 8),
        ("*(u64 *)(r10 - 8) = r1\n*(u8 *)(r10 - 4) = 1\nr2 = *(u64 *)(r10 - 8)\nr0 = *(u32 *)(r2 + 4)\nexit", 0),
        ("call s\nexit\ns:\nr0 = *(u32 *)(r1 + 8)\nexit", 12),
        ("*(u64 *)(r11 - 8) = r1\ncall s\nexit\ns:\nr1 = *(u64 *)(r11 + 8)\nr0 = *(u16 *)(r1 + 6)\nexit", 8),
        ("r6 = r1\ncall 7\nr0 = *(u8 *)(r6 + 1)\nr0 = *(u8 *)(r1 + 90)\nexit", 2),
        ("if r1 == 0 goto a\nr2 = r1\ngoto b\na:\nr2 = 0\nb:\nif r2 == 0 goto c\nr0 = *(u8 *)(r2 + 5)\nc:\nexit", 6),
        ("loop:\nr0 = *(u8 *)(r1 + 0)\nr1 += 1\nif r0 != 0 goto loop\nexit", 64),
        ("r1 = 0\nr0 = *(u8 *)(r1 + 0)\nexit", 0),
    ],
)  # fmt: skip
def test_reach(text: str, reach: int) -> None:
    assert ctx_reach(assemble(text)) == reach


def test_a_gotox_goes_where_the_tables_say() -> None:
    text = "r2 = 0\ngotox r2\nr0 = *(u32 *)(r1 + 8)\nexit\nr0 = *(u32 *)(r1 + 40)\nexit"
    assert ctx_reach(assemble(text)) == 0
    assert ctx_reach(assemble(text), frozenset({4})) == 44
    assert ctx_reach(assemble(text), frozenset({2, 3})) == 12


@pytest.mark.parametrize(("size", "errno"), [(12, "OK"), (11, "EINVAL"), (0, "EINVAL")])
def test_a_shorter_context_is_refused(size: int, errno: str) -> None:
    text = "r6 = r1\nr0 = *(u32 *)(r6 + 8)\nexit"
    world = World(Program("p", tuple(assemble(text)), "syscall"))
    assert Interpreter(world).run(RunInput(ctx_in=bytes(size))).errno == errno
