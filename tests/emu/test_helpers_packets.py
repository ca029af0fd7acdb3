"""Helpers on packets and sockets, hostile calls, and whether every helper is tested and documented."""

import re
from pathlib import Path

import pytest

from bpf.helpers import HELPERS
from bpf.maps import MapSpec, MapType
from bpf.program import Program, RunInput
from emu.runtime.helpers import IMPLEMENTED
from emu.runtime.memory import GuestFault
from emu.runtime.traps import HelperTrap
from emu.runtime.world import World
from tests.emu.call_kit import FIXTURES, M64, Calls, recorded, start

ENOENT, EINVAL, EOPNOTSUPP = 2, 22, 95

ARRAY = MapSpec("array", MapType.ARRAY, 4, 8, 3)
HASH = MapSpec("hash", MapType.HASH, 4, 8, 2)


# ---- packets ----


def test_a_hash_is_made_once_and_kept() -> None:
    calls = start(data=bytes(range(64)))
    first = calls.helper("bpf_get_hash_recalc", calls.ctx)
    assert 0 < first < 1 << 32
    calls.helper("bpf_skb_store_bytes", calls.ctx, 20, calls.buffer(b"new!"), 4, 0)
    assert calls.helper("bpf_get_hash_recalc", calls.ctx) == first
    calls.helper("bpf_skb_store_bytes", calls.ctx, 20, calls.buffer(b"new!"), 4, 2)
    assert calls.helper("bpf_get_hash_recalc", calls.ctx) != first


def test_no_packet_came_through_a_tunnel() -> None:
    """Also measured on a real kernel: fixtures/objects-more/clone_tunnel."""
    calls = start(data=bytes(64))
    for helper, more, error in (
        ("bpf_skb_get_tunnel_key", (0,), EINVAL),
        ("bpf_skb_get_tunnel_key", (2,), EINVAL),
        ("bpf_skb_get_tunnel_opt", (), ENOENT),
    ):
        key = calls.buffer(b"\7" * 28)
        assert calls.helper(helper, calls.ctx, key, 28, *more) == -error
        assert calls.read(key, 28) == bytes(28)


def test_copies_go_to_the_loopback_device() -> None:
    calls = start(data=bytes(64))
    asked = [(1, 0), (1, 1), (1, 2), (2, 0), (0, 0)]
    answers = [calls.helper("bpf_clone_redirect", calls.ctx, *args) for args in asked]
    assert answers == [0, 0, -EINVAL, -EINVAL, -EINVAL]


def test_time_stamps_of_packets() -> None:
    ip = bytes(12) + b"\x08\x00" + bytes(40)
    calls = start(data=ip)
    assert calls.helper("bpf_skb_set_tstamp", calls.ctx, 5, 1) == 0
    assert calls.world.memory.load(calls.ctx + 152, 8) == 5
    assert calls.helper("bpf_skb_set_tstamp", calls.ctx, 0, 1) == -EINVAL
    assert calls.helper("bpf_skb_set_tstamp", calls.ctx, 5, 0) == -EINVAL
    assert calls.helper("bpf_skb_set_tstamp", calls.ctx, 5, 3) == -EINVAL
    other = start(data=bytes(64))
    assert other.helper("bpf_skb_set_tstamp", other.ctx, 5, 1) == -EOPNOTSUPP


def test_encapsulating_twice_is_refused() -> None:
    calls = start(data=bytes(12) + b"\x08\x00\x45" + bytes(60))
    assert calls.helper("bpf_skb_adjust_room", calls.ctx, 20, 1, 2) == 0
    assert calls.helper("bpf_skb_adjust_room", calls.ctx, 20, 1, 2) == -114


def test_redirects() -> None:
    calls = start()
    assert calls.helper("bpf_redirect_peer", 1, 0) == 7
    assert calls.helper("bpf_redirect_peer", 1, 1) == 2
    assert calls.helper("bpf_redirect_neigh", 1, 0, 0, 0) == 7
    assert calls.helper("bpf_redirect_neigh", 1, 0, 0, 1) == 2


def test_there_are_no_sockets() -> None:
    calls = start()
    tuple_ = calls.buffer(bytes(12))
    for name in ("bpf_sk_lookup_tcp", "bpf_sk_lookup_udp", "bpf_skc_lookup_tcp"):
        assert calls.helper(name, calls.ctx, tuple_, 12, M64, 0) == 0
    for name in (
        "bpf_sk_fullsock",
        "bpf_tcp_sock",
        "bpf_get_listener_sock",
        "bpf_skc_to_tcp6_sock",
        "bpf_skc_to_tcp_sock",
        "bpf_skc_to_tcp_timewait_sock",
        "bpf_skc_to_tcp_request_sock",
        "bpf_skc_to_udp6_sock",
        "bpf_skc_to_unix_sock",
        "bpf_skc_to_mptcp_sock",
    ):
        assert calls.helper(name, calls.ctx) == 0
    with pytest.raises(HelperTrap, match="not a socket"):
        calls.helper("bpf_sk_release", calls.ctx)
    assert calls.helper("bpf_get_netns_cookie", calls.ctx) == 1
    assert calls.helper("bpf_tcp_check_syncookie", 0, 0, 0, 0, 0) == -EINVAL


# ---- hostile calls ----


@pytest.mark.parametrize(
    "call",
    [
        ("bpf_skb_load_bytes", "ctx", 0, "buf", 0xFFFFFFFF),
        ("bpf_skb_store_bytes", "ctx", 0, 0x10, 8, 0),
        ("bpf_csum_diff", "buf", 1 << 31, 0, 0, 0),
        ("bpf_probe_read_kernel", "buf", 0xFFFFFFFF, 0),
        ("bpf_strtol", "buf", 1 << 62, 0, "buf"),
        ("bpf_get_current_comm", "buf", 1 << 30),
        ("bpf_snprintf", "buf", 1 << 31, "buf", 0, 0),
        ("bpf_trace_printk", "buf", 1 << 31, 0, 0, 0),
        ("bpf_dynptr_from_mem", "buf", 8, 0, 8),
        ("bpf_get_stack", "ctx", "buf", 1 << 31, 0),
    ],
    ids=lambda call: call[0],
)
def test_sizes_and_pointers_out_of_bounds_fault(call: tuple[str | int, ...]) -> None:
    calls = start()
    buffer = calls.buffer(bytes(8))
    name, *args = call
    words = [calls.ctx if arg == "ctx" else buffer if arg == "buf" else int(arg) for arg in args]
    with pytest.raises(GuestFault):
        calls.helper(name, *words)


def test_only_the_context_is_a_context() -> None:
    for prog_type, name, more in (
        ("sched_cls", "bpf_skb_pull_data", (0,)),
        ("xdp", "bpf_xdp_adjust_head", (0,)),
        ("xdp", "bpf_check_mtu", (0, 0, 0, 0)),
    ):
        calls = start(prog_type)
        with pytest.raises(HelperTrap, match="not the address"):
            calls.helper(name, calls.ctx + 8, *more)
    xdp = start("xdp")
    with pytest.raises(HelperTrap, match="struct __sk_buff"):
        xdp.helper("bpf_skb_pull_data", xdp.ctx, 0)


def test_a_huge_packet_cannot_be_made() -> None:
    calls = start()
    for size in (16065, 1 << 20, 0xFFFFFFFF):
        assert calls.helper("bpf_skb_change_tail", calls.ctx, size, 0) == -EINVAL


def test_what_is_missing_says_so() -> None:
    calls = start()
    missing = next(number for number in HELPERS if number not in IMPLEMENTED)
    name = HELPERS[missing].name
    with pytest.raises(HelperTrap, match=f"helper {name}#{missing} is not implemented"):
        calls.helper(missing)
    with pytest.raises(HelperTrap, match="#9999 is not known"):
        calls.helper(9999)


def test_every_run_starts_without_the_last_ones_trace() -> None:
    world = World(Program("test", ()))
    calls = Calls(world, world.begin(RunInput()))
    calls.helper("bpf_trace_printk", calls.buffer(b"x\0"), 2)
    assert world.trace == ["x"]
    world.begin(RunInput())
    assert world.trace == []


def test_every_helper_has_a_test() -> None:
    """Each is called in the recordings or named in these files."""
    called = {
        call[0]
        for folder in ("helpers", "kfuncs")
        for case in recorded(folder)
        for call in case["calls"]
        if isinstance(call[0], int)
    }
    tests = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_helpers*.py")
    )
    named = set(re.findall(r"bpf_\w+", tests))
    untested = [
        HELPERS[number].name
        for number in IMPLEMENTED
        if number not in called and HELPERS[number].name not in named
    ]
    assert untested == []


def test_the_documentation_lists_what_is_implemented() -> None:
    text = (FIXTURES.parent / "docs" / "helpers.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(bpf_\w+)`", row)]
    assert sorted(listed) == sorted(HELPERS[number].name for number in IMPLEMENTED)
