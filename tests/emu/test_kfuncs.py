"""kfuncs: the built-in ones against a real 7.3.4 kernel, and declaring new ones."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpf import asm
from bpf.errors import InputError
from bpf.kfuncs import KFUNCS
from bpf.maps import MapSpec, MapType
from bpf.program import Program, RunInput
from emu.runtime.callback import Callback
from emu.runtime.kfuncs import IMPLEMENTED, Rax, kfunc, load
from emu.runtime.kfuncs.convention import RSP
from emu.runtime.memory import GuestFault
from emu.runtime.traps import HelperTrap
from emu.runtime.world import World
from tests.emu.call_kit import FIXTURES, M64, Calls, check, recorded, signed, start

HUGE = 0x8181818181818181


@pytest.fixture(autouse=True)
def tables_as_before() -> Iterator[None]:
    """What a test declares is gone after it."""
    known, implemented = dict(KFUNCS), dict(IMPLEMENTED)
    yield
    KFUNCS.clear()
    KFUNCS.update(known)
    IMPLEMENTED.clear()
    IMPLEMENTED.update(implemented)


@pytest.mark.parametrize("case", recorded("kfuncs"), ids=lambda case: case["name"])
def test_as_the_kernel(case: dict[str, Any]) -> None:
    check(case)


# ---- the convention set ----


def test_every_okf_function_but_the_13th_is_there() -> None:
    rows = [name for name in KFUNCS if name.startswith("okf_")]
    assert len(rows) == 42
    assert [name for name in rows if name not in IMPLEMENTED] == ["okf_sum13"]
    with pytest.raises(HelperTrap, match="kfunc okf_sum13 is not implemented"):
        start().raw("okf_sum13")


@pytest.mark.parametrize("count", range(5, 13))
def test_sums_wrap_around(count: int) -> None:
    calls = start()
    words = [HUGE * (at + 1) & M64 for at in range(count)]
    want = sum((at + 1) * word for at, word in enumerate(words)) & M64
    assert calls.raw(f"okf_sum{count}", *words) == want
    assert calls.world.state["okf"].raw[:count] == tuple(words)


def test_pointers() -> None:
    calls = start()
    pairs = [calls.buffer(struct.pack("<QQ", 10 * at, 1000 + at)) for at in range(12)]
    assert calls.raw("okf_ptrx12", *pairs) == sum((at + 1) * 10 * at for at in range(12))
    f, h = pairs[3], pairs[5]
    want = 1 + 2 + 3 + 4 + 5 + 7 + 30 + 2 * 1003 + 3 * 50 + 4 * 1005
    assert calls.raw("okf_ptr", 1, 2, 3, 4, 5, f, 7, h) == want
    assert calls.read(f, 8) == struct.pack("<Q", want)
    assert calls.raw("okf_void6", M64, 2, 3, 4, 5, h) == 0
    assert calls.read(h, 8) == struct.pack("<Q", 13)


def test_memory_and_its_size() -> None:
    calls = start()
    data = bytes(range(3, 12))
    mem = calls.buffer(data)
    weighted = sum((at + 1) * byte for at, byte in enumerate(data))
    assert calls.raw("okf_mem", 1, 2, 3, 4, 5, mem, 9 | 7 << 32) == 15 + weighted
    assert calls.raw("okf_mem_split", 1, 2, 3, 4, mem, 9) == 10 + weighted
    assert calls.raw("okf_mem", 1, 2, 3, 4, 5, mem, 0) == 15
    for size in (10, 0xFFFFFFFF):
        with pytest.raises(GuestFault):
            calls.raw("okf_mem", 1, 2, 3, 4, 5, mem, size)


def test_the_log_belongs_to_the_world_and_lasts() -> None:
    world = World(Program("test", ()))
    calls = Calls(world, world.begin(RunInput()))
    calls.raw("okf_ret_s8", HUGE)
    calls = Calls(world, world.begin(RunInput()))
    assert calls.raw("okf_count") == 1
    assert signed(calls.raw("okf_last", 0)) == signed(HUGE)
    assert calls.raw("okf_raw", 1) == 0
    assert calls.raw("okf_raw", 12) == RSP
    assert RSP % 16 == 8
    assert start().raw("okf_count") == 0


# ---- the test module's ----

NINE = tuple(range(1, 10))


def test_testmod_sums() -> None:
    """The results that the kernel's own selftests demand."""
    calls = start(data=bytes(54))
    p = calls.buffer(struct.pack("<4i", 10, 20, 0, 0))
    assert calls.raw("bpf_kfunc_call_stack_arg", *range(1, 11)) == 55
    assert calls.raw("bpf_kfunc_call_stack_arg_ptr", *NINE, p) == 75
    assert calls.raw("bpf_kfunc_call_stack_arg_mix", *range(1, 8), p, 8, p) == 66
    ptr = calls.buffer(bytes(16))
    assert calls.raw("bpf_dynptr_from_skb", calls.ctx, 0, ptr) == 0
    assert calls.raw("bpf_kfunc_call_stack_arg_dynptr", *NINE, ptr) == 99
    mem = calls.buffer(bytes(range(1, 17)))
    assert calls.raw("bpf_kfunc_call_stack_arg_mem", *range(1, 6), mem, 16) == 151
    it = calls.buffer(bytes(16))
    assert calls.raw("bpf_iter_testmod_seq_new", it, 100, 10) == 0
    assert calls.raw("bpf_kfunc_call_stack_arg_iter", *NINE, it) == 145
    assert calls.raw("bpf_kfunc_call_stack_arg_const_str", *NINE, calls.buffer(b"hello\0")) == 45
    assert calls.raw("bpf_kfunc_call_stack_arg_timer", *NINE, calls.buffer(bytes(16))) == 45


# What a real 7.3.4 kernel returned; narrow arguments have something above their width.
@pytest.mark.parametrize(
    ("name", "args", "want"),
    [
        ("bpf_kfunc_call_test4", (-3, -30, -200, -1000), -1233),
        ("bpf_kfunc_call_test4", (0x180, 0x18000, 0x180000000, 1 << 62), 0x3FFFFFFF7FFF7F80),
        ("bpf_kfunc_call_test4", (0x7F, -1, 0x80000000, -1), 1),
        ("bpf_kfunc_call_test4", (-1, 0x7FFF, -1, 0), 2),
        ("bpf_kfunc_call_test4", (-1, -1, 0, 0), 3),
        ("bpf_kfunc_call_test5", (0x1FF, 0x1FFFF, 0x1FFFFFFFF), 0),
        ("bpf_kfunc_call_test_static_unused_arg", (0x1FFFFFFFF, 7), 0xFFFFFFFF),
        ("bpf_kfunc_call_test_mem_len_pass1", (0, 8), 0),
        ("bpf_testmod_test_mod_kfunc", (5,), 0),
        ("bpf_kfunc_common_test", (), 0),
    ],
)
def test_testmod_narrow(name: str, args: tuple[int, ...], want: int) -> None:
    assert start().raw(name, *(arg & M64 for arg in args)) == want & M64


def test_testmod_iterator_ends() -> None:
    calls = start()
    it = calls.buffer(bytes(16))
    assert calls.raw("bpf_iter_testmod_seq_new", it, 7, 2) == 0
    assert [bool(calls.raw("bpf_iter_testmod_seq_next", it)) for _ in range(3)] == [True, True, False]
    assert calls.raw("bpf_iter_testmod_seq_new", it, 7, -1) == -22 & 0xFFFFFFFF
    calls.raw("bpf_iter_testmod_seq_destroy", it)
    assert calls.raw("bpf_iter_testmod_seq_next", it) == 0


# ---- the kernel's ----


@pytest.mark.parametrize(
    ("begin", "end", "error", "numbers"),
    [(3, 6, 0, [3, 4, 5]), (5, 5, 0, []), (-2, 1, 0, [-2, -1, 0]), (5, 3, -22, []), (0, 8 << 20, 0, None), (0, (8 << 20) + 1, -7, [])],
)  # fmt: skip
def test_counting(begin: int, end: int, error: int, numbers: list[int] | None) -> None:
    calls = start()
    it = calls.buffer(b"\xee" * 8)
    assert calls.raw("bpf_iter_num_new", it, begin, end) == error & (1 << 64) - 1
    found = []
    while numbers is not None and (at := calls.raw("bpf_iter_num_next", it)):
        found.append(struct.unpack("<i", calls.read(at, 4))[0])
    assert found == (numbers or [])
    # the end clears the iterator, and so does an error; destroying it does nothing
    before = bytes(8) if numbers is not None else struct.pack("<2i", begin - 1, end)
    assert calls.read(it, 8) == before
    calls.raw("bpf_iter_num_destroy", it)
    assert calls.read(it, 8) == before


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ([0], []),
        ([1], [0]),
        ([0x8000000000000001], [0, 63]),
        ([0, 1, 0, 3], [64, 192, 193]),
        ([0] * 510 + [1 << 63], [511 * 64 - 1]),
    ],
)
def test_bits_of_words(words: list[int], want: list[int]) -> None:
    calls = start()
    it, data = calls.buffer(b"\xee" * 16), calls.buffer(struct.pack(f"<{len(words)}Q", *words))
    assert calls.raw("bpf_iter_bits_new", it, data, len(words)) == 0
    calls.world.memory.write(data, bytes(8 * len(words)))  # they were copied
    found = []
    while at := calls.raw("bpf_iter_bits_next", it):
        found.append(struct.unpack("<i", calls.read(at, 4))[0])
    assert found == want
    assert calls.raw("bpf_iter_bits_next", it) == 0
    calls.raw("bpf_iter_bits_destroy", it)


@pytest.mark.parametrize(("count", "error"), [(0, -22), (512, -7), (3, -14)])
def test_bits_that_are_none(count: int, error: int) -> None:
    calls = start()
    it, data = calls.buffer(bytes(16)), calls.buffer(bytes(16))
    assert calls.raw("bpf_iter_bits_new", it, data, count) == error & 0xFFFFFFFF
    assert calls.raw("bpf_iter_bits_next", it) == 0
    assert calls.raw("bpf_iter_bits_new", it, 0, 1) == -22 & 0xFFFFFFFF


def test_slices_of_packets() -> None:
    calls = start(data=bytes(range(64)))
    packet, ptr, buffer = calls.world.packet, calls.buffer(bytes(16)), calls.buffer(bytes(8))
    assert packet is not None
    packet.linear = 20
    packet.show()
    calls.raw("bpf_dynptr_from_skb", calls.ctx, 0, ptr)
    assert calls.raw("bpf_dynptr_slice", ptr, 4, buffer, 8) == packet.base + packet.data + 4
    assert calls.raw("bpf_dynptr_slice", ptr, 16, buffer, 8) == buffer
    assert calls.read(buffer, 8) == bytes(range(16, 24))
    assert calls.raw("bpf_dynptr_slice_rdwr", ptr, 16, 0, 8) == 0
    assert calls.raw("bpf_dynptr_slice", ptr, 60, buffer, 8) == 0


def test_read_only_dynptrs() -> None:
    calls = start("socket_filter", data=bytes(64))
    ptr, data = calls.buffer(bytes(16)), calls.buffer(b"abcd")
    assert calls.raw("bpf_dynptr_from_skb", calls.ctx, 0, ptr) == 0
    assert calls.raw("bpf_dynptr_is_rdonly", ptr) == 1
    assert calls.raw("bpf_dynptr_slice_rdwr", ptr, 0, 0, 4) == 0
    assert calls.helper("bpf_dynptr_write", ptr, 0, data, 4, 0) == -22
    assert calls.raw("bpf_dynptr_memset", ptr, 0, 4, 1) == -22 & 0xFFFFFFFF
    with pytest.raises(HelperTrap, match="not the address"):
        calls.raw("bpf_dynptr_from_xdp", calls.ctx, 0, ptr)


def test_sections_and_casts() -> None:
    calls = start()
    flags = calls.buffer(bytes(8))
    for name in ("bpf_rcu_read_lock", "bpf_rcu_read_unlock", "bpf_preempt_disable", "bpf_preempt_enable"):
        assert calls.raw(name) == 0
    assert calls.raw("bpf_local_irq_save", flags) == calls.raw("bpf_local_irq_restore", flags) == 0
    assert (
        calls.raw("bpf_cast_to_kern_ctx", calls.ctx)
        == calls.raw("bpf_rdonly_cast", calls.ctx, 5)
        == calls.ctx
    )


def test_strings_have_a_limit_and_an_end() -> None:
    calls = start()
    assert signed(calls.raw("bpf_strlen", calls.buffer(b"x" * 5000)) << 32) >> 32 == -7
    assert signed(calls.raw("bpf_strlen", calls.buffer(b"x" * 50)) << 32) >> 32 == -14
    assert signed(calls.raw("bpf_strlen", 0xFFFF_FFFF_0000_0000) << 32) >> 32 == -14
    assert calls.raw("bpf_strnlen", calls.buffer(b"x" * 50), 50) == 50


def test_elements_are_counted() -> None:
    calls = start(
        maps=(
            MapSpec("hash", MapType.HASH, 4, 4, 8, elems=((b"abcd", b"1234"),)),
            MapSpec("array", MapType.ARRAY, 4, 4, 8),
        )
    )
    assert [calls.raw("bpf_map_sum_elem_count", calls.world.map_pointer(at)) for at in (0, 1)] == [1, 0]


# ---- declaring ----


def test_arguments_are_what_c_sees() -> None:
    seen: list[tuple[object, ...]] = []

    @kfunc(
        "s8 probe_all(u8 a, s8 b, u16 c, s16 d, u32 e, s32 f, bool g, u64 h, s64 i, void *j, long k, enum e l)"
    )
    def probe_all(_: World, *args: int) -> int:
        seen.append(args)
        return -3

    assert start().raw("probe_all", *[HUGE] * 12) == -3 & 0xFFFFFFFF
    negative = HUGE - (1 << 64)
    assert seen == [
        (0x81, 0x81 - 0x100, 0x8181, 0x8181 - 0x10000, 0x81818181, 0x81818181 - (1 << 32), True, HUGE, negative, HUGE, negative, 0x81818181)
    ]  # fmt: skip
    assert probe_all(None, 1) == -3  # the function itself stays as it was


@pytest.mark.parametrize(
    ("ret", "value", "want"),
    [("u8", 300, 44), ("s8", 200, 0xFFFFFFC8), ("u16", -1, 0xFFFF), ("s32", -1, 0xFFFFFFFF), ("bool", 256, 1), ("s64", -1, M64),
     ("u64", 1 << 64, 0), ("void *", 1 << 63, 1 << 63), ("u8", Rax(HUGE), HUGE), ("u64", None, 0), ("bool", False, 0)],
)  # fmt: skip
def test_results_are_as_compiled_code_leaves_them(ret: str, value: int | None, want: int) -> None:
    @kfunc(f"{ret} give(void)")
    def give(_: World) -> int | None:
        return value

    assert start().raw("give") == want


def test_a_generator_calls_back() -> None:
    @kfunc("s32 twice(void *callback, u64 arg)")
    def twice(_: World, callback: int, arg: int) -> Any:
        first = yield Callback(callback, (arg,))
        second = yield Callback(callback, (arg + 1,))
        return first + second

    running = start().world.kfunc("twice", [7, 40, *[0] * 10])
    assert not isinstance(running, int)
    assert next(running) == Callback(7, (40,))
    assert running.send(1) == Callback(7, (41,))
    with pytest.raises(StopIteration) as stop:
        running.send(-3)
    assert stop.value.value == -2 & 0xFFFFFFFF


def test_whatever_it_raises_is_a_trap() -> None:
    @kfunc("int broken(u32 a)")
    def broken(_: World, a: int) -> int:
        return 1 // a

    @kfunc("int wild(u64 a)")
    def wild(world: World, a: int) -> int:
        return world.memory.load(a, 8)

    with pytest.raises(HelperTrap, match="kfunc broken: ZeroDivisionError"):
        start().raw("broken", 0)
    with pytest.raises(GuestFault):
        start().raw("wild", 5)


def test_bad_declarations() -> None:
    def function(_: World, *args: int) -> int:
        return len(args)

    with pytest.raises(InputError, match="13 parameters"):
        kfunc("int many(" + ", ".join(f"int a{i}" for i in range(13)) + ")")(function)
    with pytest.raises(InputError, match="is known as u64 okf_sum5"):
        kfunc("int okf_sum5(int a)")(function)
    with pytest.raises(InputError, match="cannot take a world and 2 arguments"):
        kfunc("int pair(int a, int b)")(lambda _, a: a)
    with pytest.raises(InputError):
        kfunc("int (")


# ---- a module of a user's own: the example of docs/kfuncs.md ----


def test_the_example_of_the_documentation() -> None:
    path = FIXTURES / "kfuncs" / "my_kfuncs.py"
    guide = (FIXTURES.parent / "docs" / "kfuncs.md").read_text()
    assert path.read_text() in guide
    assert load(str(path)) == ("my_blend", "my_fill")
    calls = start()
    mem = calls.buffer(bytes([1, 2, 3, 4]))
    got = signed(calls.raw("my_blend", 0x1FF, 0x1_0002, -5, 0x100, 7, 0x8000, mem, 4))
    assert got == -1 + 2 - 5 + 0 + 7 - 0x8000 + 10
    assert [calls.raw("my_fill", mem, 2, 0x1AB) for _ in range(2)] == [1, 2]
    assert calls.read(mem, 4) == b"\xab\xab\x03\x04"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\n", "declares no kfunc"),
        ("x = 1\ny = 1 / 0\n", "line 2.*ZeroDivisionError"),
        ("def (\n", "line 1.*SyntaxError"),
        (
            "from emu.runtime.kfuncs import kfunc\n\n@kfunc('int f(flub x)')\ndef f(world, x): return 0\n",
            "flub",
        ),
    ],
)
def test_modules_that_do_not_work(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=why) as error:
        load(str(path))
    assert "\n" not in str(error.value)


def test_modules_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load(str(tmp_path / "missing.py"))
    with pytest.raises(InputError, match=r"must end in \.py"):
        load(str(tmp_path / "missing.txt"))


def test_every_kfunc_has_a_test() -> None:
    called = {call[0] for case in recorded("kfuncs") for call in case["calls"] if isinstance(call[0], str)}
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in IMPLEMENTED if name not in called and name not in text] == []


def test_pages_of_an_arena() -> None:
    """What tests/emu/test_arenas.py does not do: wrong maps, flags and counts; freeing what is not there."""
    text = "map ar: arena key 0 value 0 max 4 flags 1024\nmap a: array key 4 value 8 max 1\nr1 = map[ar]\nr0 = 0\nexit\n"
    world = World(asm.parse(text, "t").program)
    arena, other = world.map_pointer(0), world.map_pointer(1)
    user = 1 << 44
    assert world.kfunc("bpf_arena_alloc_pages", (arena, 0, 1, 0, 1)) == 0
    assert world.kfunc("bpf_arena_alloc_pages", (arena, 0, 0, 0, 0)) == 0
    assert world.kfunc("bpf_arena_alloc_pages", (arena, 0, 5, 0, 0)) == 0
    assert world.kfunc("bpf_arena_alloc_pages", (other, 0, 1, 0, 0)) == 0
    assert world.kfunc("bpf_arena_reserve_pages", (other, user, 1)) == 0xFFFFFFEA
    assert world.kfunc("bpf_arena_reserve_pages", (arena, user, 0)) == 0
    assert world.kfunc("bpf_arena_alloc_pages", (arena, user + 4096, 2, 0, 0)) == user + 4096
    assert world.kfunc("bpf_arena_free_pages", (arena, user + 8192, 100)) == 0
    assert world.kfunc("bpf_arena_free_pages", (arena, 0, 1)) == 0
    assert [int.from_bytes(key, "little") for key, _ in world.contents()[0]] == [1]
    with pytest.raises(HelperTrap, match="is no map"):
        world.kfunc("bpf_arena_free_pages", (arena + 8, user, 1))
