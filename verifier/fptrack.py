"""Where stack addresses may be: which frame's stack, at which offsets, for every register, slot and stack argument.

A `Track` is (frame, offsets): frame >= 0 is a known frame with up to four sorted byte offsets, none for any offset.
Source: struct arg_track and arg_track_xfer of kernel/bpf/liveness.c. Feeds verifier/livestack.py, nothing else.
"""

from collections.abc import Mapping
from typing import Final

from bpf import isa
from bpf.insn import Insn

Track = tuple[int, tuple[int, ...]]

_NONE_FRAME: Final = -1
IMPRECISE: Final = -3  # no known frame; offsets[0] is a mask of frames
NONE: Final[Track] = (_NONE_FRAME, ())
MAX_OFFSETS: Final = 4
SPILL_SLOTS: Final = 64
ARG0: Final = isa.MAX_BPF_REG  # place of the first outgoing stack argument behind R0..R10
PLACES: Final = ARG0 + isa.MAX_STACK_ARG_SLOTS

# Registers and stack arguments; spilled tracks by spi, those that are NONE left out.
Places = tuple[Track, ...]
Spills = Mapping[int, Track]
State = tuple[Places, Spills]


def is_fp(track: Track) -> bool:
    """Whether it may be a stack address."""
    return track[0] >= 0 or track[0] == IMPRECISE


def single(frame: int, off: int) -> Track:
    """One address."""
    return (frame, (off,))


def _merge(frame: int, a: tuple[int, ...], b: tuple[int, ...]) -> Track:
    offsets = tuple(sorted({*a, *b}))
    return (frame, offsets if len(offsets) <= MAX_OFFSETS else ())


def _mask(track: Track) -> int:
    return 1 << track[0] if track[0] >= 0 else track[1][0] if track[0] == IMPRECISE else 0


def join(a: Track, b: Track) -> Track:
    """What may be one or the other (__arg_track_join)."""
    if a == b:
        return a
    if a[0] == b[0] and a[0] >= 0:
        return _merge(a[0], a[1], b[1]) if a[1] and b[1] else (a[0], ())
    if b == NONE and a[0] >= 0:
        # the offset 0 keeps what is read, and keeps a write from being certain
        return _merge(a[0], a[1], (0,)) if len(a[1]) == 1 else a
    if a == NONE and b[0] >= 0:
        return _merge(b[0], b[1], (0,)) if len(b[1]) == 1 else b
    return (IMPRECISE, (_mask(a) | _mask(b),))


def join_states(a: State, b: State) -> State:
    """The join of all places; `a` itself if nothing is new."""
    places = a[0] if a[0] == b[0] else tuple(join(x, y) for x, y in zip(a[0], b[0], strict=True))
    spills: Spills = a[1]
    if a[1] != b[1]:
        joined = {spi: join(a[1].get(spi, NONE), b[1].get(spi, NONE)) for spi in {*a[1], *b[1]}}
        spills = a[1] if joined == a[1] else joined
    return a if places == a[0] and spills is a[1] else (places, spills)


def _fits(off: int) -> bool:
    return -0x8000 <= off <= 0x7FFF


def shifted(track: Track, delta: int) -> Track:
    """All offsets moved; any offset if one does not fit (arg_padd)."""
    offsets = tuple([off + delta for off in track[1]])
    return (track[0], offsets if _fits(delta) and all(map(_fits, offsets)) else ())


def _spi(off: int) -> int:
    return -off // 8 - 1 if -8 * SPILL_SLOTS <= off < 0 and off % 8 == 0 else -1


def _all_frames(depth: int) -> Track:
    return (IMPRECISE, ((1 << depth + 1) - 1,))


def _fill(insn: Insn, base: Track, spills: Spills, depth: int) -> Track:
    """A load of 8 bytes from a frame's stack (fill_from_stack)."""
    if insn.src == isa.FP:
        spi = _spi(insn.off)
        return spills.get(spi, NONE) if spi >= 0 else _all_frames(depth)
    if base[0] < 0 or not base[1]:
        return _all_frames(depth)
    result = NONE
    for off in base[1]:
        spi = _spi(off + insn.off)
        if spi < 0:
            return _all_frames(depth)
        result = join(result, spills.get(spi, NONE))
    return result


def _set_spill(spills: dict[int, Track], spi: int, track: Track, *, sure: bool) -> None:
    new = track if sure else join(spills.get(spi, NONE), track)
    if new == NONE:
        spills.pop(spi, None)
    else:
        spills[spi] = new


def _spill(insn: Insn, base: Track, spills: dict[int, Track], track: Track) -> None:
    """A store to a frame's stack (spill_to_stack)."""
    if insn.size != 8:
        track = NONE
    if insn.dst == isa.FP:
        spi = _spi(insn.off)
        if spi >= 0:
            _set_spill(spills, spi, track, sure=True)
        return
    if base[0] < 0 or not base[1]:
        for spi in range(SPILL_SLOTS):
            _set_spill(spills, spi, track, sure=False)
        return
    for off in base[1]:
        spi = _spi(off + insn.off) if _fits(off + insn.off) else -1
        if spi >= 0:
            _set_spill(spills, spi, track, sure=len(base[1]) == 1)


def _clear(insn: Insn, base: Track, spills: dict[int, Track]) -> None:
    """A store that leaves no address behind (clear_stack_for_all_offs)."""
    if insn.dst == isa.FP:
        offsets: tuple[int, ...] = (0,)
    elif base[0] >= 0 and all(_fits(off + insn.off) for off in base[1]):
        offsets = base[1]
    else:
        offsets = ()
    sure = len(offsets) == 1
    for spi in list(spills):
        start = -8 * (spi + 1)
        if not offsets or any(
            start < off + insn.off + insn.size and start + 8 > off + insn.off for off in offsets
        ):
            _set_spill(spills, spi, NONE, sure=sure)


def _is_local(depth: int, reg: int, track: Track) -> bool:
    """Whether it may point into the current frame (can_be_local_fp)."""
    return reg == isa.FP or track[0] == depth or (track[0] == IMPRECISE and bool(track[1][0] >> depth & 1))


def _alu64(dst: Track, src: Track) -> Track:
    """Arithmetic of two registers keeps at most the frame (arg_track_alu64)."""
    if dst[0] >= 0 and (src == NONE or src[0] == dst[0]):
        return (dst[0], ())
    if src[0] >= 0 and dst == NONE:
        return (src[0], ())
    if dst == NONE and src == NONE:
        return dst
    return (IMPRECISE, (_mask(dst) | _mask(src),))


class Context:
    """What one analysis of a function knows: its depth, its incoming stack arguments, its callers' spills by frame."""

    __slots__ = ("depth", "incoming", "parents")

    def __init__(self, depth: int, incoming: Places, parents: tuple[Spills, ...]) -> None:
        self.depth = depth
        self.incoming = incoming
        self.parents = parents


def transfer(context: Context, insn: Insn, state: State) -> State:
    """The state behind an instruction (arg_track_xfer)."""
    places, spills = state
    cls = insn.code & isa.CLASS_MASK
    if cls in (isa.ALU64, isa.ALU):
        track = _alu(insn, places)
        return state if places[insn.dst] is track else (_put(places, insn.dst, track), spills)
    if insn.dst == isa.REG_PARAMS and isa.is_stack_arg_store(insn.code, insn.dst, insn.off):
        slot = isa.store_slot(insn.off)
        if slot >= isa.MAX_STACK_ARG_SLOTS:
            return state
        return _put(places, ARG0 + slot, places[insn.src] if cls == isa.STX else NONE), spills
    if insn.src == isa.REG_PARAMS and isa.is_stack_arg_load(insn.code, insn.src, insn.off):
        slot = isa.load_slot(insn.off)
        held = context.incoming[slot] if slot < isa.MAX_STACK_ARG_SLOTS else NONE
        return _put(places, insn.dst, held), spills
    if insn.code == isa.OP_CALL:
        return (NONE,) * 6 + places[6:], spills
    if cls == isa.LDX:
        return _put(places, insn.dst, _load(context, insn, places, spills)), spills
    if insn.code == isa.LD_IMM64:
        return _put(places, insn.dst, NONE), spills
    if cls == isa.STX:
        return _stx(context, insn, places, spills)
    if cls == isa.ST and insn.mode == isa.MEM and _is_local(context.depth, insn.dst, places[insn.dst]):
        new = dict(spills)
        _clear(insn, places[insn.dst], new)
        return places, new
    return state


def _put(places: Places, at: int, track: Track) -> Places:
    held = places[at]
    return places if held is track or held == track else (*places[:at], track, *places[at + 1 :])


def _alu(insn: Insn, places: Places) -> Track:
    code = insn.code
    if code & isa.CLASS_MASK == isa.ALU:
        return NONE
    dst, op = places[insn.dst], code & isa.OP_MASK
    if not code & isa.X:
        if op == isa.MOV:
            return NONE
        if dst[0] < 0:
            return dst
        if op in (isa.ADD, isa.SUB):
            return shifted(dst, insn.imm if op == isa.ADD else -insn.imm)
        return (dst[0], ())
    src = places[insn.src]
    if op == isa.MOV:
        return NONE if insn.off else src
    return dst if dst is src is NONE else _alu64(dst, src)


def _load(context: Context, insn: Insn, places: Places, spills: Spills) -> Track:
    if insn.mode != isa.MEM or insn.size != 8:
        return NONE
    src = places[insn.src]
    if _is_local(context.depth, insn.src, src):
        return _fill(insn, src, spills, context.depth)
    if 0 <= src[0] < context.depth:
        return _fill(insn, src, context.parents[src[0]], src[0])
    return src if src[0] == IMPRECISE and src[1][0] else NONE


def _stx(context: Context, insn: Insn, places: Places, spills: Spills) -> State:
    dst = places[insn.dst]
    local = _is_local(context.depth, insn.dst, dst)
    if insn.mode == isa.MEM:
        if not local:
            return places, spills
        new = dict(spills)
        _spill(insn, dst, new, places[insn.src])
        return places, new
    if insn.mode != isa.ATOMIC:
        return places, spills
    if local and insn.imm != isa.LOAD_ACQ:
        new = dict(spills)
        _clear(insn, dst, new)
        spills = new
    if insn.imm == isa.CMPXCHG:
        places = _put(places, isa.R0, NONE)
    elif insn.imm == isa.LOAD_ACQ:
        places = _put(places, insn.dst, NONE)
    elif insn.imm & isa.FETCH:
        places = _put(places, insn.src, NONE)
    return places, spills
