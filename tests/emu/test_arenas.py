"""Arenas in both engines: pages come and go, addresses in both forms, accesses where no page is.

Expected numbers are a real 7.3.4 kernel's (fixtures/golden-more/forms.jsonl.gz has more of them).
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bpf import asm
from bpf.errors import InputError
from bpf.maps import MapSpec, MapType
from bpf.program import Program, Request
from bpf.verified import Rejected, Verified
from emu.pipeline import Case, Options, Pipeline
from emu.runtime.maps_arena import ArenaMap, base_of
from emu.runtime.memory import PAGE, Memory
from verifier import assume, verify

USER = 1 << 44
HEAD = """prog type syscall license GPL flags 16
map ar: arena key 0 value 0 max 8 flags {flags} extra {user}
map out: array key 4 value 64 max 1 dump
int main(void *ctx):
"""
ALLOC = "r1 = map[ar]\nr2 = {at}\nr3 = {count}\nr4 = -1\nr5 = 0\ncall bpf_arena_alloc_pages\n"


def program(body: str, flags: int = 1 << 10, user: int = USER) -> Program:
    return asm.parse(HEAD.format(flags=flags, user=user) + body + "r0 = 0\nexit\n", "t").program


def shown(reg: str, at: int) -> str:
    return f"r9 = map[out][0]+{8 * at}\n*(u64 *)(r9 +0) = {reg}\n"


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(Options())
    yield made
    made.close()


def words(case: Case) -> list[int]:
    """What the program put into the array, which must be the same in both engines."""
    assert case.error is None
    assert case.difference is None
    assert case.interp is not None
    assert case.sandbox is not None
    assert case.interp.runs[0].trap is None
    assert case.sandbox.dumps == case.interp.dumps
    raw = bytes.fromhex(case.interp.dumps[0])[4:]
    return [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]


def run(pipeline: Pipeline, body: str, flags: int = 1 << 10, user: int = USER) -> list[int]:
    return words(pipeline.run(Request(program(body, flags, user))))


def test_pages_are_taken_where_they_fit_best(pipeline: Pipeline) -> None:
    counts = (1, 2, 1, 8, 3, 1, 1)
    body = "".join(ALLOC.format(at=0, count=count) + shown("r0", at) for at, count in enumerate(counts))
    pages = [value and (value - USER) // PAGE for value in run(pipeline, body)]
    assert pages == [0, 1, 3, 0, 4, 7, 0, 0]
    assert (
        run(pipeline, body)[3] == run(pipeline, body)[6] == 0
    )  # no room; and all pages are free again in the next case


@pytest.mark.parametrize("off", [0, 1, 4088, 4092, 4096, 8184, 8188, 8192, -1, -8, 32767, -32768])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_accesses_on_pages_and_beside_them(pipeline: Pipeline, off: int, size: int) -> None:
    name = f"u{8 * size}"
    body = ALLOC.format(at=0, count=2) + (
        f"r6 = addr_space_cast(r0, 0, 1)\nr7 = 0x1122334455667788 ll\n*({name} *)(r6 +{off}) = r7\n"
        f"r8 = -1\nr8 = *({name} *)(r6 +{off})\n{shown('r8', 0)}r8 = -1\nr8 = *(u64 *)(r6 +{off & -8})\n{shown('r8', 1)}"
    )
    there = off >= 0 and off + size <= 2 * PAGE
    value = 0x1122334455667788 & ((1 << 8 * size) - 1) if there else 0
    assert run(pipeline, body.replace("+-", "-"))[0] == value


def test_a_store_that_reaches_beyond_the_last_page_stores_nothing(pipeline: Pipeline) -> None:
    body = ALLOC.format(at=0, count=1) + ALLOC.format(at=f"{USER + 2 * PAGE} ll", count=1) + (
        "r6 = map[ar][0]+0\nr6 = addr_space_cast(r6, 0, 1)\nr7 = -1\n*(u64 *)(r6 +4092) = r7\n*(u64 *)(r6 +8188) = r7\n"
        f"r8 = *(u32 *)(r6 +4092)\n{shown('r8', 0)}r8 = *(u32 *)(r6 +8192)\n{shown('r8', 1)}"
    )  # fmt: skip
    assert run(pipeline, body)[:2] == [0, 0]


@pytest.mark.parametrize(
    ("flags", "user", "want"),
    [
        (1 << 10, USER, [0, USER + PAGE, USER + 0xFFFFF000, 0]),
        (1 << 10, USER + 0x12340000, [USER + 0x12340000, USER + 0x12341000, USER + 0x1233F000, USER + 0x12340000]),
        (1 << 10 | 1 << 18, USER, [0, PAGE, 0xFFFFF000, 0]),
    ],
)  # fmt: skip
def test_addresses_in_both_forms(pipeline: Pipeline, flags: int, user: int, want: list[int]) -> None:
    """Arithmetic is 32 bits wide, and 0 has no other form."""
    body = "r6 = map[ar][0]+0\nr6 = addr_space_cast(r6, 0, 1)\n"
    for at, change in enumerate(("", "r6 += 4096\n", "r6 -= 8192\n", "r6 += 4096\n")):
        body += f"{change}r8 = addr_space_cast(r6, 1, 0)\n{shown('r8', at)}"
    assert run(pipeline, body, flags, user)[:4] == want


@pytest.mark.parametrize("page", [0, 1])
def test_atomics(pipeline: Pipeline, page: int) -> None:
    """On a page they do what they do everywhere; beside it what they would fetch is 0."""
    there = 1 - page
    body = ALLOC.format(at=0, count=1) + (
        f"r6 = addr_space_cast(r0, 0, 1)\n*(u64 *)(r6 +{page * PAGE}) = 5\nr7 = 3\nr7 = atomic64_fetch_add((u64 *)(r6 +{page * PAGE}), r7)\n"
        f"{shown('r7', 0)}r0 = 8\nr7 = 100\nr0 = cmpxchg_64(r6 +{page * PAGE}, r0, r7)\n{shown('r0', 1)}"
        f"r7 = 9\nr7 = xchg_64(r6 +{page * PAGE}, r7)\n{shown('r7', 2)}r7 = 1\nr7 = load_acquire((u64 *)(r6 +{page * PAGE}))\n{shown('r7', 3)}"
    )  # fmt: skip
    assert run(pipeline, body)[:4] == [5 * there, 8 * there, 100 * there, 9 * there]


def test_freed_pages_are_gone_and_come_back_as_zeros(pipeline: Pipeline) -> None:
    body = ALLOC.format(at=0, count=4) + (
        f"r6 = addr_space_cast(r0, 0, 1)\n*(u64 *)(r6 +4096) = 7\nr1 = map[ar]\nr2 = {USER + PAGE} ll\nr3 = 1\ncall bpf_arena_free_pages\n"
        f"r8 = *(u64 *)(r6 +4096)\n{shown('r8', 0)}*(u64 *)(r6 +4096) = 8\n"
    )
    body += ALLOC.format(at=0, count=1) + shown("r0", 1) + f"r8 = *(u64 *)(r6 +4096)\n{shown('r8', 2)}"
    assert run(pipeline, body)[:3] == [0, USER + PAGE, 0]


def test_what_is_on_the_pages_is_compared(pipeline: Pipeline) -> None:
    case = pipeline.run(
        Request(program(ALLOC.format(at=0, count=1) + "r6 = addr_space_cast(r0, 0, 1)\n*(u8 *)(r6 +9) = 7\n"))
    )
    assert case.interp is not None
    assert case.sandbox is not None
    assert case.interp.maps[0] == case.sandbox.maps[0] == ((bytes(4), bytes(9) + b"\7" + bytes(PAGE - 10)),)


def test_the_kernels_address_is_passed_to_kfuncs(pipeline: Pipeline) -> None:
    body = "r1 = map[ar][0]+4096\nr2 = 0\ncall bpf_kfunc_arena_mixed_test\n"
    case = pipeline.run(Request(program(body)))
    assert case.interp is not None
    assert case.sandbox is not None
    args = [outcome.runs[0].calls[0].args for outcome in (case.interp, case.sandbox)]
    assert args == [(base_of(0) + PAGE, 0)] * 2


def test_which_instructions_go_through_the_arena() -> None:
    made = program(
        "r6 = map[ar][0]+0\nr6 = addr_space_cast(r6, 0, 1)\nr6 += 8\nr7 = 8\nr7 += 8\nr8 = *(u64 *)(r6 +0)\n*(u64 *)(r10 -8) = 1\n"
        "lock *(u64 *)(r10 -8) += r7\n*(u8 *)(r6 +0) = 1\nlock *(u64 *)(r6 +0) += r7\n"
    )  # fmt: skip
    verdict = verify(made)
    assert isinstance(verdict, Verified)
    assert sorted(verdict.in_arena) == [3, 6, 9, 10]
    assert assume(made).in_arena == frozenset()


def test_fetching_loops_are_refused() -> None:
    """7.3.4: BPF_ATOMIC stores into R6 arena is not allowed."""
    head = "r6 = map[ar][0]+0\nr6 = addr_space_cast(r6, 0, 1)\nr7 = 8\n"
    verdict = verify(program(f"{head}r7 = atomic64_fetch_or((u64 *)(r6 +0), r7)\n"))
    assert isinstance(verdict, Rejected)
    assert (verdict.errno, verdict.message) == ("EACCES", "BPF_ATOMIC stores into R6 arena is not allowed")
    assert isinstance(verify(program(f"{head}lock *(u64 *)(r6 +0) |= r7\n")), Verified)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"key_size": 4}, "key_size and value_size must be 0 (EINVAL)"),
        ({"flags": 0}, "the flag BPF_F_MMAPABLE is missing (EINVAL)"),
        ({"max_entries": 0}, "max_entries is 0 (EINVAL)"),
        ({"max_entries": (1 << 20) + 1}, "more than 4 GiB (E2BIG)"),
        ({"extra": USER + 1}, "must begin a page (EINVAL)"),
        ({"extra": USER - PAGE}, "crosses a multiple of 4 GiB (ERANGE)"),
    ],
)
def test_what_is_no_arena(pipeline: Pipeline, changes: dict[str, int], why: str) -> None:
    spec = replace(MapSpec("ar", MapType.ARENA, 0, 0, 8, flags=1 << 10, extra=USER), **changes)  # type: ignore[arg-type]
    made = program("r1 = map[ar]\n")
    case = pipeline.run(Request(replace(made, maps=(spec, *made.maps[1:]))), engines=("verify", "interp"))
    if not case.rejected:
        assert isinstance(case.error, InputError)
        assert str(case.error).endswith(why)


def test_reserved_pages_are_not_allocated() -> None:
    arena = ArenaMap(MapSpec("ar", MapType.ARENA, 0, 0, 4, flags=1 << 10, extra=USER), 0, Memory())
    assert arena.reserve(USER + PAGE, 1) == 0
    assert arena.reserve(USER + PAGE, 1) == -16
    assert arena.reserve(USER + 3 * PAGE, 2) == -22
    assert arena.reserve(USER + 1, 2) == 0
    assert arena.allocate(0, 2) == USER + 2 * PAGE
    assert arena.allocate(0, 2) == 0
    assert arena.allocate(USER + PAGE, 1) == 0
    arena.free(USER + PAGE, 9)
    assert arena.pages == {}
    assert arena.allocate(0, 4) == USER
