"""Packets: the window a program may touch, against a list of bytes, through random changes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.runtime.contexts import SKB, SkbContext, XdpContext
from emu.runtime.memory import GuestFault, Memory
from emu.runtime.packet import Packet

MEMORY = Memory()
HEAD, TAIL = 32, 40
DATA = bytes(range(1, 65))


def fresh(linear: int = 64) -> Packet:
    MEMORY.reset()
    return Packet(MEMORY, DATA, HEAD, TAIL, linear)


def window(packet: Packet) -> bytes:
    """What is directly accessible, as the guest reads it."""
    return MEMORY.read(packet.base + packet.meta, packet.end - packet.meta)


@pytest.mark.parametrize(
    ("name", "args", "after"),
    [
        ("push", (4,), bytes(4) + DATA),
        ("push", (HEAD,), bytes(HEAD) + DATA),
        ("push", (HEAD + 1,), None),
        ("pull", (14,), DATA[14:]),
        ("pull", (64,), b""),
        ("pull", (65,), None),
        ("resize", (10,), DATA[:10]),
        ("resize", (64 + TAIL,), DATA + bytes(TAIL)),
        ("resize", (65 + TAIL,), None),
        ("resize", (-1,), None),
        ("make_room", (14, 4), DATA[:14] + bytes(4) + DATA[14:]),
        ("make_room", (14, -4), DATA[:14] + DATA[18:]),
        ("make_room", (14, -51), None),
        ("make_room", (0, HEAD + 1), None),
        ("make_room", (65, 1), None),
        ("move_head", (8,), DATA[8:]),
        ("move_head", (-8,), bytes(8) + DATA),
        ("move_head", (65,), None),
        ("move_head", (-HEAD - 1,), None),
    ],
)
def test_changes(name: str, args: tuple[int, ...], after: bytes | None) -> None:
    packet = fresh()
    assert getattr(packet, name)(*args) is (after is not None)
    assert packet.contents() == (DATA if after is None else after)
    if packet.length:
        assert window(packet) == packet.contents()


def test_metadata_moves_with_the_head() -> None:
    packet = fresh()
    assert packet.set_meta(8)
    MEMORY.write(packet.base + packet.meta, b"metadata")
    assert packet.move_head(-4, keep=8)
    assert packet.contents(with_meta=True) == b"metadata" + packet.contents()
    assert len(packet.contents()) == 68
    assert not packet.move_head(-HEAD, keep=8)
    assert not packet.set_meta(HEAD + 1)


def test_what_is_not_linear_is_read_by_helpers_only() -> None:
    packet = fresh(linear=20)
    assert window(packet) == DATA[:20]
    with pytest.raises(GuestFault):
        MEMORY.read(packet.base + packet.end, 1)
    assert packet.load_bytes(18, 6) == DATA[18:24]
    assert packet.store_bytes(60, b"wxyz")
    assert not packet.pull(21)
    assert packet.make_linear(30)
    assert window(packet) == DATA[:30]
    assert packet.make_linear(10)
    assert not packet.make_linear(65)
    assert packet.contents() == DATA[:60] + b"wxyz"


@pytest.mark.parametrize(("off", "size"), [(61, 4), (64, 1), (0, 65), (-HEAD - 1, 1)])
def test_helpers_stay_inside(off: int, size: int) -> None:
    packet = fresh()
    assert packet.load_bytes(off, size) is None
    assert not packet.store_bytes(off, bytes(size))
    assert packet.contents() == DATA


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "pull", "resize", "make_room", "store"]),
        st.integers(-8, 110),
        st.integers(-20, 20),
    ),
    max_size=20,
)


@settings(max_examples=150)
@given(steps=STEPS)
def test_against_bytes(steps: list[tuple[str, int, int]]) -> None:
    packet, model = fresh(), bytearray(DATA)
    for name, a, b in steps:
        before, head = bytes(model), packet.data
        if name == "store":
            if packet.store_bytes(a, b"\xee" * abs(b)) and a >= 0:
                model[a : a + abs(b)] = b"\xee" * abs(b)
            elif a < 0:
                packet, model = fresh(), bytearray(DATA)
        elif name == "resize":
            if packet.resize(a):
                model = bytearray(before[:a].ljust(a, b"\0"))
        elif name == "make_room":
            if a >= 0 and packet.make_room(a, b):
                model = bytearray(before[:a] + (bytes(b) + before[a:] if b > 0 else before[a - b :]))
        elif a >= 0 and getattr(packet, name)(a):
            model = bytearray(
                bytes(packet.room[packet.data : head]) + before if name == "push" else before[a:]
            )
        assert packet.contents() == bytes(model)
        assert packet.headroom + packet.length + packet.tailroom == HEAD + 64 + TAIL
        if model:
            assert window(packet) == bytes(model)


def test_contexts_follow_the_packet() -> None:
    packet = fresh()
    skb = SkbContext(MEMORY, packet, direct=True)
    skb["mark"], skb["tstamp"] = 7, 1 << 40
    packet.push(4)
    packet.set_meta(4)
    addr = packet.base + packet.data
    assert (skb["len"], skb["data"], skb["data_end"], skb["data_meta"]) == (68, addr, addr + 68, addr - 4)
    assert (skb["mark"], skb["tstamp"]) == (7, 1 << 40)
    assert MEMORY.load(skb.addr + SKB["data_end"], 4) == addr + 68
    hidden = SkbContext(MEMORY, fresh(), direct=False)
    assert (hidden["len"], hidden["data"], hidden["data_end"]) == (64, 0, 0)


def test_xdp_contexts_follow_the_packet() -> None:
    packet = fresh()
    context = XdpContext(MEMORY, packet, 1, 3)
    packet.resize(10)
    addr = packet.base + packet.data
    assert [context.u32(off) for off in (0, 4, 8, 12, 16)] == [addr, addr + 10, addr, 1, 3]


def test_what_a_packet_left_behind_is_gone() -> None:
    packet = fresh()
    packet.resize(64 + TAIL)
    packet.store_bytes(60, b"\xff" * 30)
    again = fresh()
    assert not any(again.room[HEAD + 64 :])
