"""Inputs for runs: the request's own, and random ones that its program type allows. A function of the seed alone."""

import random
from collections.abc import Sequence
from dataclasses import replace

from bpf.maps import MapSpec, MapType
from bpf.program import Program, RunInput
from emu.runtime.contexts import SK_LOOKUP, SK_LOOKUP_SIZE, SKB, SKB_SIZE

_PACKETS = frozenset(
    {
        "socket_filter",
        "sched_cls",
        "sched_act",
        "cgroup_skb",
        "lwt_in",
        "lwt_out",
        "lwt_xmit",
        "xdp",
        "flow_dissector",
    }
)
_EDGES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 64) - 1)


def random_inputs(
    program: Program, count: int, seed: int, own: Sequence[RunInput] = ()
) -> tuple[RunInput, ...]:
    """`count` runs. own: the request's, of which contexts and packets are varied as well."""
    rng = random.Random(f"{seed} {program.name}")  # noqa: S311 - inputs, no secrets
    first = own[0] if own else RunInput()
    return tuple(_one(program.prog_type, first, rng) for _ in range(count))


def random_maps(program: Program, seed: int) -> Program:
    """The program with random contents in the arrays that nothing was put into and that user space may fill."""
    rng = random.Random(f"maps {seed} {program.name}")  # noqa: S311 - inputs, no secrets
    return replace(program, maps=tuple(_filled(spec, rng) for spec in program.maps))


def _filled(spec: MapSpec, rng: random.Random) -> MapSpec:
    if spec.type != MapType.ARRAY or spec.elems or spec.freeze or spec.btf_value or spec.max_entries > 64:
        return spec
    elems = tuple((i.to_bytes(4, "little"), _bytes(rng, spec.value_size)) for i in range(spec.max_entries))
    return replace(spec, elems=elems)


def _bytes(rng: random.Random, size: int) -> bytes:
    """Random words, every second one a number at the edge of some range."""
    words = size // 8 + 1
    some = (
        rng.choice(_EDGES) if rng.random() < 0.5 else rng.getrandbits(64) >> rng.choice((0, 32, 48, 56))
        for _ in range(words)
    )
    return b"".join(word.to_bytes(8, "little") for word in some)[:size]


def _one(prog_type: str, own: RunInput, rng: random.Random) -> RunInput:
    if prog_type in _PACKETS:
        size = rng.choice((14, 15, 20, 34, 42, 54, 64, 65, 100, 128, 300, 1500))
        data = bytearray(_bytes(rng, size))
        if size >= 54 and rng.random() < 0.5:
            data[12:14] = rng.choice((b"\x08\x00", b"\x86\xdd"))
        if own.data_in and rng.random() < 0.5:
            data[: len(own.data_in)] = own.data_in[:size]
        ctx = _skb(rng) if prog_type not in ("xdp", "flow_dissector") and rng.random() < 0.5 else None
        return RunInput(bytes(data), ctx)
    if prog_type == "syscall":
        return RunInput(ctx_in=_bytes(rng, max(len(own.ctx_in or b""), 64)))
    if prog_type == "raw_tracepoint":
        return RunInput(ctx_in=_bytes(rng, 96))
    if prog_type == "sk_lookup":
        return RunInput(ctx_in=_sk_lookup(rng))
    return own


def _skb(rng: random.Random) -> bytes:
    ctx = bytearray(SKB_SIZE)
    for name in ("mark", "priority", "cb"):
        size = 20 if name == "cb" else 4
        ctx[SKB[name] : SKB[name] + size] = _bytes(rng, size)
    return bytes(ctx)


def _sk_lookup(rng: random.Random) -> bytes:
    ctx = bytearray(SK_LOOKUP_SIZE)
    values = {
        "family": rng.choice((2, 10)),
        "protocol": rng.choice((6, 17)),
        "local_port": rng.getrandbits(16),
    }
    for name, value in values.items():
        ctx[SK_LOOKUP[name] : SK_LOOKUP[name] + 4] = value.to_bytes(4, "little")
    return bytes(ctx)
