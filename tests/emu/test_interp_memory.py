"""Loads, stores and atomics of the interpreter, and the edges of its objects."""

import pytest

from bpf import isa
from bpf.asm import assemble
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType
from bpf.program import Program, RunInput
from tests.emu.interp_kit import r0, trap

PATTERN = "r1 = 0xfedcba9889abcdef ll\n*(u64 *)(r10 -8) = r1\n"  # bytes ef cd ab 89 98 ba dc fe

LOADS = [
    ("*(u8 *)(r10 -8)", 0xEF),
    ("*(u8 *)(r10 -1)", 0xFE),
    ("*(u16 *)(r10 -8)", 0xCDEF),
    ("*(u32 *)(r10 -8)", 0x89AB_CDEF),
    ("*(u64 *)(r10 -8)", 0xFEDC_BA98_89AB_CDEF),
    ("*(u16 *)(r10 -7)", 0xABCD),
    ("*(s8 *)(r10 -8)", 0xFFFF_FFFF_FFFF_FFEF),
    ("*(s8 *)(r10 -4)", 0xFFFF_FFFF_FFFF_FF98),
    ("*(s16 *)(r10 -8)", 0xFFFF_FFFF_FFFF_CDEF),
    ("*(s32 *)(r10 -8)", 0xFFFF_FFFF_89AB_CDEF),
    ("*(s32 *)(r10 -6)", 0xFFFF_FFFF_BA98_89AB),
]


@pytest.mark.parametrize(("place", "value"), LOADS)
def test_load(place: str, value: int) -> None:
    assert r0(f"{PATTERN}r0 = {place}\nexit") == value


def test_signed_load_of_a_positive_value() -> None:
    assert r0("*(u64 *)(r10 -8) = 0x7f7f7f7f\nr0 = *(s32 *)(r10 -8)\nexit") == 0x7F7F_7F7F
    assert r0("*(u64 *)(r10 -8) = 0x7f\nr0 = *(s8 *)(r10 -8)\nexit") == 0x7F


STORES = [
    ("*(u8 *)(r10 -8) = r2", 0xFEDC_BA98_89AB_CD88),
    ("*(u16 *)(r10 -8) = r2", 0xFEDC_BA98_89AB_7788),
    ("*(u32 *)(r10 -8) = r2", 0xFEDC_BA98_5566_7788),
    ("*(u64 *)(r10 -8) = r2", 0x1122_3344_5566_7788),
    ("*(u8 *)(r10 -8) = -1", 0xFEDC_BA98_89AB_CDFF),
    ("*(u16 *)(r10 -8) = -2", 0xFEDC_BA98_89AB_FFFE),
    ("*(u32 *)(r10 -8) = -2", 0xFEDC_BA98_FFFF_FFFE),
    ("*(u64 *)(r10 -8) = -2", 0xFFFF_FFFF_FFFF_FFFE),
    ("*(u64 *)(r10 -8) = 2147483647", 0x7FFF_FFFF),
]


@pytest.mark.parametrize(("store", "after"), STORES)
def test_store(store: str, after: int) -> None:
    assert r0(f"{PATTERN}r2 = 0x1122334455667788 ll\n{store}\nr0 = *(u64 *)(r10 -8)\nexit") == after


def test_store_of_the_frame_pointer() -> None:
    assert r0("*(u64 *)(r10 -8) = r10\nr0 = *(u64 *)(r10 -8)\nr0 -= r10\nexit") == 0


def test_unwritten_stack_holds_the_same_bytes_each_time() -> None:
    assert r0("r0 = *(u64 *)(r10 -512)\nexit") == 0xA5A5_A5A5_A5A5_A5A5
    assert r0("r0 = *(u64 *)(r10 -512)\nexit", fill=0) == 0
    called_twice = "call f\ncall f\nexit\nf:\nr0 = *(u64 *)(r10 -8)\n*(u64 *)(r10 -8) = 1\nexit"
    assert r0(called_twice) == 0xA5A5_A5A5_A5A5_A5A5


# (operation on *(r10 -8) with r2 = 0x1_0000_0003, r0 before; memory after; r0, r2 after), memory before: 0xfedcba98_89abcdef
MEM = 0xFEDC_BA98_89AB_CDEF
HIGH = 0xFEDC_BA98_0000_0000
ATOMICS = [
    ("lock *(u64 *)(r10 -8) += r2", MEM + 0x1_0000_0003, 0x1_0000_0003),
    ("lock *(u32 *)(r10 -8) += r2", MEM + 3, 0x1_0000_0003),
    ("lock *(u64 *)(r10 -8) |= r2", 0xFEDC_BA99_89AB_CDEF, 0x1_0000_0003),
    ("lock *(u32 *)(r10 -8) |= r2", MEM, 0x1_0000_0003),
    ("lock *(u64 *)(r10 -8) &= r2", 3, 0x1_0000_0003),
    ("lock *(u32 *)(r10 -8) &= r2", HIGH | 3, 0x1_0000_0003),
    ("lock *(u64 *)(r10 -8) ^= r2", 0xFEDC_BA99_89AB_CDEC, 0x1_0000_0003),
    ("lock *(u32 *)(r10 -8) ^= r2", MEM ^ 3, 0x1_0000_0003),
    ("r2 = atomic64_fetch_add((u64 *)(r10 -8), r2)", MEM + 0x1_0000_0003, MEM),
    ("w2 = atomic_fetch_add((u32 *)(r10 -8), w2)", MEM + 3, 0x89AB_CDEF),
    ("r2 = atomic64_fetch_or((u64 *)(r10 -8), r2)", 0xFEDC_BA99_89AB_CDEF, MEM),
    ("w2 = atomic_fetch_or((u32 *)(r10 -8), w2)", MEM, 0x89AB_CDEF),
    ("r2 = atomic64_fetch_and((u64 *)(r10 -8), r2)", 3, MEM),
    ("w2 = atomic_fetch_and((u32 *)(r10 -8), w2)", HIGH | 3, 0x89AB_CDEF),
    ("r2 = atomic64_fetch_xor((u64 *)(r10 -8), r2)", 0xFEDC_BA99_89AB_CDEC, MEM),
    ("w2 = atomic_fetch_xor((u32 *)(r10 -8), w2)", MEM ^ 3, 0x89AB_CDEF),
    ("r2 = atomic64_xchg((u64 *)(r10 -8), r2)", 0x1_0000_0003, MEM),
    ("w2 = atomic_xchg((u32 *)(r10 -8), w2)", HIGH | 3, 0x89AB_CDEF),
    ("store_release((u64 *)(r10 -8), r2)", 0x1_0000_0003, 0x1_0000_0003),
    ("store_release((u32 *)(r10 -8), r2)", HIGH | 3, 0x1_0000_0003),
    ("store_release((u16 *)(r10 -8), r2)", 0xFEDC_BA98_89AB_0003, 0x1_0000_0003),
    ("store_release((u8 *)(r10 -8), r2)", 0xFEDC_BA98_89AB_CD03, 0x1_0000_0003),
    ("r2 = load_acquire((u64 *)(r10 -8))", MEM, MEM),
    ("r2 = load_acquire((u32 *)(r10 -8))", MEM, 0x89AB_CDEF),
    ("r2 = load_acquire((u16 *)(r10 -8))", MEM, 0xCDEF),
    ("r2 = load_acquire((u8 *)(r10 -8))", MEM, 0xEF),
]


@pytest.mark.parametrize(("operation", "memory", "register"), ATOMICS)
def test_atomic(operation: str, memory: int, register: int) -> None:
    text = f"{PATTERN}r2 = 0x100000003 ll\n{operation}\n"
    assert r0(f"{text}r0 = *(u64 *)(r10 -8)\nexit") == memory
    assert r0(f"{text}r0 = r2\nexit") == register


def test_atomic_add_wraps_within_its_width() -> None:
    text = "*(u64 *)(r10 -8) = -1\nr2 = 1\nlock *(u32 *)(r10 -8) += r2\nr0 = *(u64 *)(r10 -8)\nexit"
    assert r0(text) == 0xFFFF_FFFF_0000_0000


# (expected in r0, new memory, r0 afterwards)
CMPXCHG = [
    ("r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r2)", MEM, 0x1_0000_0003, MEM),
    ("r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r2)", MEM + 1, MEM, MEM),
    ("w0 = atomic_cmpxchg((u32 *)(r10 -8), w0, w2)", 0x89AB_CDEF, HIGH | 3, 0x89AB_CDEF),
    ("w0 = atomic_cmpxchg((u32 *)(r10 -8), w0, w2)", 0x7777_7777_89AB_CDEF, HIGH | 3, 0x89AB_CDEF),
    ("w0 = atomic_cmpxchg((u32 *)(r10 -8), w0, w2)", 0x7777_7777_0000_0000, MEM, 0x89AB_CDEF),
]


@pytest.mark.parametrize(("operation", "expected", "memory", "register"), CMPXCHG)
def test_compare_exchange(operation: str, expected: int, memory: int, register: int) -> None:
    text = f"{PATTERN}r2 = 0x100000003 ll\nr0 = {expected:#x} ll\n{operation}\n"
    assert r0(f"{text}exit") == register
    assert r0(f"{text}r0 = *(u64 *)(r10 -8)\nexit") == memory


ARRAY = MapSpec("values", MapType.ARRAY, 4, 16, 2, dump=True)
FROZEN = 0x80  # BPF_F_RDONLY_PROG


def with_map(text: str, spec: MapSpec = ARRAY, off: int = 0) -> Program:
    first = [Insn(isa.LD_IMM64, 1, isa.PSEUDO_MAP_VALUE, imm=0), Insn(0, imm=off)]
    return Program("t", (*first, *assemble(text)), maps=(spec,))


def test_map_values_are_memory() -> None:
    text = "*(u64 *)(r1 +8) = 5\nr2 = 2\nlock *(u64 *)(r1 +8) += r2\nr0 = *(u64 *)(r1 +8)\nexit"
    assert r0(with_map(text)) == 7
    assert r0(with_map("*(u32 *)(r1 +0) = 9\nr0 = *(u32 *)(r1 +0)\nexit", off=12)) == 9


EDGES = [
    ("r0 = *(u64 *)(r10 -520)\nexit", "read of 8 bytes at 0xffffc900000ffdf8"),
    ("r0 = *(u8 *)(r10 +0)\nexit", "read of 1 bytes at 0xffffc90000100000"),
    ("r0 = *(u64 *)(r10 -4)\nexit", "read of 8 bytes at 0xffffc900000ffffc"),
    ("*(u64 *)(r10 -4) = 1\nr0 = 0\nexit", "write of 8 bytes at 0xffffc900000ffffc"),
    ("*(u8 *)(r10 -513) = 1\nr0 = 0\nexit", "write of 1 bytes at 0xffffc900000ffdff"),
    ("r1 = 0\nr0 = *(u8 *)(r1 +0)\nexit", "read of 1 bytes at 0x0"),
    ("r1 = 0\nr0 = *(u8 *)(r1 -1)\nexit", "read of 1 bytes at 0xffffffffffffffff"),
    ("r1 = -1\nr0 = *(s16 *)(r1 +1)\nexit", "read of 2 bytes at 0x0"),
    ("r1 = 0\nr2 = 1\nlock *(u64 *)(r1 +16) += r2\nr0 = 0\nexit", "write of 8 bytes at 0x10"),
    ("r1 = 0\nr0 = 0\nr0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r0)\nexit", "write of 8 bytes at 0x0"),
    ("r1 = 0\nr0 = load_acquire((u8 *)(r1 +0))\nexit", "read of 1 bytes at 0x0"),
    ("r1 = 0\nstore_release((u16 *)(r1 +0), r1)\nexit", "write of 2 bytes at 0x0"),
]


@pytest.mark.parametrize(("text", "what"), EDGES)
def test_access_outside_of_objects(text: str, what: str) -> None:
    found = trap(text)
    assert found.kind == "access"
    assert what in found.message


def test_the_last_byte_of_the_stack_is_inside() -> None:
    assert r0("*(u64 *)(r10 -512) = 1\n*(u8 *)(r10 -1) = 2\nr0 = *(u64 *)(r10 -512)\nexit") == 1


def test_message_of_a_bad_access() -> None:
    found = trap("r2 = 0\nr1 = *(u64 *)(r2 +8)\nr0 = 0\nexit")
    assert found.insn == 1
    assert found.message == (
        "insn 1: r1 = *(u64 *)(r2 +8): read of 8 bytes at 0x8: no object of the program is there"
    )


def test_an_access_may_not_run_past_a_map_value() -> None:
    found = trap(with_map("r0 = *(u64 *)(r1 +28)\nexit"))
    assert found.kind == "access"
    assert "runs 4 bytes past" in found.message


def test_read_only_map() -> None:
    spec = MapSpec("fixed", MapType.ARRAY, 4, 16, 1, flags=FROZEN)
    assert r0(with_map("r0 = *(u64 *)(r1 +0)\nexit", spec)) == 0
    for store in (
        "*(u64 *)(r1 +0) = 1",
        "r2 = 1\n*(u8 *)(r1 +0) = r2",
        "r2 = 1\nlock *(u64 *)(r1 +0) += r2",
        "r2 = 1\nr0 = 0\nr0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r2)",
    ):
        found = trap(with_map(f"{store}\nr0 = 0\nexit", spec))
        assert found.kind == "access"
        assert found.message.endswith("is read-only")


def test_packet_loads_are_big_endian_and_checked() -> None:
    packet = RunInput(data_in=bytes(range(64)))
    assert r0("r6 = r1\nr0 = *(u8 *)skb[3]\nexit", run=packet) == 3
    assert r0("r6 = r1\nr0 = *(u16 *)skb[3]\nexit", run=packet) == 0x0304
    assert r0("r6 = r1\nr2 = 8\nr0 = *(u32 *)skb[r2 + 2]\nexit", run=packet) == 0x0A0B_0C0D
    assert r0("r6 = r1\nr0 = 5\nr0 = *(u8 *)skb[64]\nr0 = 7\nexit", run=packet) == 0
    assert r0("r6 = r1\nr2 = 0x100000003 ll\nr0 = *(u8 *)skb[r2 + 0]\nexit", run=packet) == 3


def test_packet_load_outside_leaves_only_its_function() -> None:
    text = "r6 = r1\ncall f\nr0 += 7\nexit\nf:\nr6 = r1\nr0 = *(u8 *)skb[100]\nr0 = 3\nexit"
    assert r0(text) == 7


def test_packet_loads_clobber_arguments_and_need_the_context() -> None:
    assert trap("r6 = r1\nr0 = *(u8 *)skb[0]\nr0 = r1\nexit").kind == "uninitialized"
    assert trap("r0 = *(u8 *)skb[0]\nexit").message.endswith("r6 is not defined")
    assert trap("r6 = 5\nr0 = *(u8 *)skb[0]\nexit").message.endswith("r6 is 0x5, not the context")


def test_context_and_packet_are_objects() -> None:
    data, data_end = 76, 80  # of struct __sk_buff
    packet = RunInput(data_in=bytes([0, 9, *range(62)]))
    assert r0(f"r2 = *(u32 *)(r1 +{data})\nr0 = *(u8 *)(r2 +1)\nexit", run=packet) == 9
    assert trap(f"r2 = *(u32 *)(r1 +{data_end})\nr0 = *(u8 *)(r2 +0)\nexit", run=packet).kind == "access"
