"""What is around a generated program: its context, its maps and the inputs of its runs."""

from dataclasses import replace

from bpf.maps import MapSpec, MapType
from bpf.program import RunInput
from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.plan import VALUE_SIZE
from emu.fuzz.generators.prototypes import LOCK_AT, LOCKED_SIZE, LOCKED_TYPES
from emu.runtime.contexts import SKB, SKB_SIZE

_SLEEPABLE = 16  # BPF_F_SLEEPABLE
FLAGS = {"syscall": _SLEEPABLE}
CHECKPOINTS = 8  # BPF_F_TEST_STATE_FREQ: the verifier compares paths wherever it may, not only now and then
_CONTEXTS = {"sched_cls": "struct __sk_buff *", "xdp": "struct xdp_md *"}
_PACKETS = (14, 15, 20, 34, 54, 64, 65, 100)
_RAW_WORDS = 12


def context_type(prog_type: str) -> str:
    """The C type of the main function's parameter."""
    return _CONTEXTS.get(prog_type, "void *")


def maps(
    draw: Draw, *, table: bool = False, progs: bool = False, locked: bool = False
) -> tuple[MapSpec, ...]:
    """An array `values` of one element; where wanted, a hash map `table`, an array of programs `progs`, an array `locked`
    of one value with a lock."""
    elems = ((bytes(4), draw.bytes(VALUE_SIZE)),)
    made = [MapSpec("values", MapType.ARRAY, 4, VALUE_SIZE, 1, elems=elems, dump=True)]
    if table:
        keys = sorted({draw.below(6) for _ in range(draw.below(4))})
        some = tuple((key.to_bytes(4, "little"), draw.bytes(VALUE_SIZE)) for key in keys)
        made.append(MapSpec("table", MapType.HASH, 4, VALUE_SIZE, 8, elems=some, dump=True))
    if progs:
        made.append(MapSpec("progs", MapType.PROG_ARRAY, 4, 4, 2, progs=((0, "target"),)))
    if locked:
        value = draw.bytes(LOCK_AT) + bytes(4) + draw.bytes(LOCKED_SIZE - LOCK_AT - 4)
        spec = MapSpec("locked", MapType.ARRAY, 4, LOCKED_SIZE, 1, elems=((bytes(4), value),), dump=True)
        made.append(replace(spec, btf_key=LOCKED_TYPES[0], btf_value=LOCKED_TYPES[1]))
    return tuple(made)


def inputs(draw: Draw, prog_type: str) -> tuple[RunInput, ...]:
    """One to three runs."""
    return tuple(_input(draw, prog_type) for _ in range(draw.pick((1, 1, 2, 3))))


def _input(draw: Draw, prog_type: str) -> RunInput:
    if prog_type == "syscall":
        return RunInput(ctx_in=draw.bytes(VALUE_SIZE))
    if prog_type == "raw_tracepoint":
        return RunInput(ctx_in=draw.bytes(8 * _RAW_WORDS))
    data = draw.bytes(draw.pick(_PACKETS))
    if prog_type != "sched_cls" or draw.random() < 0.3:
        return RunInput(data)
    ctx = bytearray(SKB_SIZE)
    for name, size in (("mark", 4), ("priority", 4), ("cb", 20)):
        ctx[SKB[name] : SKB[name] + size] = draw.bytes(size)
    return RunInput(data, bytes(ctx))
