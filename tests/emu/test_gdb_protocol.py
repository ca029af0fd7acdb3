"""Packets: taken apart whole whatever stands around them, and never with an exception."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.gdb.protocol import PACKET_SIZE, Again, Damaged, Interrupt, Packet, Reader, framed


def _all(data: bytes, *, acks: bool = True) -> list[object]:
    return list(Reader(acks).feed(data))


def test_a_packet() -> None:
    assert _all(b"$qC#b4") == [Packet(b"qC")]
    assert framed(b"OK") == b"$OK#9a"


@pytest.mark.parametrize("text", [b"", b"a$b", b"}", b"#", b"a*b", bytes(range(256))])
def test_what_is_framed_comes_back(text: bytes) -> None:
    assert _all(framed(text)) == [Packet(text)]


def test_noise_between_packets_is_skipped() -> None:
    assert _all(b"+++\r\nnoise$a#61\0\xff+$b#62") == [Packet(b"a"), Packet(b"b")]


def test_a_wrong_sum_is_damage() -> None:
    found = _all(b"$a#00$a#zz$a#6_$a# 1$b#62")
    assert [type(one) for one in found] == [Damaged] * 4 + [Packet]


def test_without_acks_sums_are_not_looked_at() -> None:
    assert _all(b"$a#00", acks=False) == [Packet(b"a")]


def test_an_interrupt_and_a_wish_to_hear_it_again() -> None:
    assert [type(one) for one in _all(b"\x03-$a#61")] == [Interrupt, Again, Packet]


def test_an_interrupt_byte_inside_of_a_packet_is_data() -> None:
    assert _all(framed(b"X0,1:\x03")) == [Packet(b"X0,1:\x03")]


def test_a_packet_that_was_cut_off_by_another() -> None:
    assert _all(b"$m123$qC#b4") == [Packet(b"qC")]


def test_a_packet_without_an_end_is_given_up_and_the_next_is_taken() -> None:
    reader = Reader()
    found = [type(one) for _ in range(5) for one in reader.feed(b"$" + b"a" * PACKET_SIZE)]
    assert found == [Damaged]
    assert list(reader.feed(b"#00$qC#b4")) == [Packet(b"qC")]


@given(st.binary(max_size=200), st.integers(1, 7))
def test_pieces_make_no_difference(data: bytes, step: int) -> None:
    whole = [(type(one), getattr(one, "text", b"")) for one in _all(data)]
    reader = Reader()
    pieces = [
        (type(one), getattr(one, "text", b""))
        for at in range(0, len(data), step)
        for one in reader.feed(data[at : at + step])
    ]
    assert pieces == whole


@given(st.lists(st.binary(max_size=50), max_size=5), st.sampled_from([b"", b"+", b"\n ", b"x\xff"]))
def test_all_packets_arrive(texts: list[bytes], noise: bytes) -> None:
    data = noise.join(framed(text) for text in texts)
    assert _all(data) == [Packet(text) for text in texts]
