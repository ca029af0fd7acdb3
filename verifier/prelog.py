"""What a log of level 2 says before the first path is followed.

Functions, their order, where stack addresses are (verifier/fptrack.py), which stack slots are read and written
(verifier/livestack.py), which registers are read later. Source: print_subprog_arg_access, print_instances and
bpf_compute_live_registers of kernel/bpf/liveness.c, check_subprogs and sort_subprogs_topo of kernel/bpf/verifier.c.
Makes text, decides nothing.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from bpf import isa
from verifier.fptrack import ARG0, IMPRECISE, NONE, Places, Spills, State, Track, is_fp, join
from verifier.statelog import vlog_alignment
from verifier.subprogs import Function

if TYPE_CHECKING:
    from verifier.env import Env

_SHOWN_REGS: Final = 10
_FULL: Final = 0b11


class _Instance(Protocol):
    """What is shown of an analysed call."""

    depth: int
    reads: list[list[int] | None]
    site: int
    size: int
    start: int
    subprog: int
    writes: list[list[int] | None]


def functions_text(starts: Iterable[int]) -> str:
    """`func#1 @20` for each function."""
    return "".join(f"func#{number} @{start}\n" for number, start in enumerate(starts))


def order_text(functions: Sequence[Function], order: Iterable[int]) -> str:
    """`topo_order[0] = name` for each function, callees first."""
    return "".join(f"topo_order[{place}] = {functions[number].name}\n" for place, number in enumerate(order))


def function_title(function: Function) -> str:
    """`subprog#1 name`."""
    return f"subprog#{function.index} {function.name}".rstrip()


# ---- where stack addresses are


def track_text(track: Track) -> str:
    """`fp0-16|fp0+0`, `fp0 ?` for any offset, `IMP3` for a mask of frames, `_` for no stack address."""
    frame, offsets = track
    if frame == IMPRECISE:
        return f"IMP{offsets[0]:x}"
    if frame < 0:
        return "_"
    return "|".join(f"fp{frame}{off:+d}" for off in offsets) or f"fp{frame} ?"


def _place_name(place: int) -> str:
    return f"r{place}" if place < ARG0 else f"sa{place - ARG0}"


def _spill_name(spi: int) -> str:
    return f"fp{-8 * (spi + 1):+d}"


def joined_text(at: int, to: int, old: State, out: State) -> str:
    """`arg JOIN insn 9 -> 10 r1: fp0-8 + _ => fp0-8|fp0+0` for all that a second way to `to` changes there."""
    pairs = [(_place_name(place), a, b) for place, (a, b) in enumerate(zip(old[0], out[0], strict=True))]
    pairs += [
        (_spill_name(spi), old[1].get(spi, NONE), out[1].get(spi, NONE)) for spi in sorted({*old[1], *out[1]})
    ]
    text = ""
    for name, a, b in pairs:
        new = join(a, b)
        if new != a:
            text += (
                f"arg JOIN insn {at} -> {to} {name}: {track_text(a)} + {track_text(b)} => {track_text(new)}\n"
            )
    return text


def transferred_text(env: "Env", at: int, before: State, after: State) -> str:
    """An instruction with the addresses that it moves; "" when it moves none."""
    moved = [
        (_place_name(place), old, new)
        for place, (old, new) in enumerate(zip(before[0], after[0], strict=True))
        if old != new
    ]
    if before[1] is not after[1]:
        for spi in sorted({*before[1], *after[1]}):
            old, new = before[1].get(spi, NONE), after[1].get(spi, NONE)
            if old != new:
                moved.append((_spill_name(spi), old, new))
    if not moved:
        return ""
    changes = "".join(f"\t{name}: {track_text(old)} -> {track_text(new)}" for name, old, new in moved)
    return f"{at:3d}: {env.insn_text(at)}{changes}\n"


def addresses_text(env: "Env", function: Function, states: Sequence[State | None]) -> str:
    """A function's instructions, those that load, store or call with the addresses that they find."""
    lines = [f"{function_title(function)}:\n"]
    for at in _slots(env, function.start, function.end):
        insn = env.insns[at]
        state = states[at - function.start]
        held = ""
        if state is not None and (insn.cls in (isa.LDX, isa.STX) or insn.code == isa.OP_CALL):
            held = _held_text(*state)
        lines.append(f"{at:3d}: {env.insn_text(at)}{' //' if held else ''}{held}\n")
    return "".join(lines)


def _held_text(places: Places, spills: Spills) -> str:
    held = [(_place_name(i), t) for i, t in enumerate(places) if i != isa.FP and is_fp(t)]
    held += [(_spill_name(spi), spills[spi]) for spi in sorted(spills) if is_fp(spills[spi])]
    return "".join(f" {name}={track_text(track)}" for name, track in held)


def _slots(env: "Env", start: int, end: int) -> Iterable[int]:
    """Instructions without the second slots of ld_imm64."""
    at = start
    while at < end:
        yield at
        at += 2 if env.insns[at].code == isa.LD_IMM64 else 1


# ---- which slots are read and written


def instances_text(env: "Env", instances: Iterable[_Instance]) -> str:
    """Reads and certain writes of the stack, for every function as it is called from each place."""
    ordered = sorted(instances, key=lambda one: (one.site, one.depth))
    return "".join(_instance_text(env, one) for one in ordered)


def _instance_text(env: "Env", one: _Instance) -> str:
    title = function_title(env.layout.functions[one.subprog])
    lines = [f"stack use/def {title} (d{one.depth},cs{one.site}):\n"]
    for at in _slots(env, one.start, one.start + one.size):
        text = f"{at:3d}: {env.insn_text(at)}"
        used = _masks_text(one, one.reads, at)
        defined = _masks_text(one, one.writes, at)
        if used or defined:
            text += " " * vlog_alignment(len(text)) + ";"
            text += f" use: {used}" if used else ""
            text += f" def: {defined}" if defined else ""
        lines.append(text + "\n")
    return "".join(lines)


def _masks_text(one: _Instance, kind: list[list[int] | None], at: int) -> str:
    """Slots of all frames, the innermost first."""
    parts: list[str] = []
    for frame in range(one.depth, -1, -1):
        masks = kind[frame]
        if masks is not None and masks[at - one.start]:
            parts += _slots_text(frame, masks[at - one.start])
    return " ".join(parts)


def _slots_text(frame: int, mask: int) -> list[str]:
    """`fp0-8`, `fp0-4h` for half a slot, `fp0-8..-24` for three and more."""
    halves = [mask >> 2 * spi & _FULL for spi in range(mask.bit_length() // 2 + 1)]
    parts = []
    spi = 0
    while spi < len(halves):
        first = spi
        while spi < len(halves) and halves[spi] == _FULL:
            spi += 1
        if spi - first >= 3:
            parts.append(f"fp{frame}{-8 * (first + 1)}..{-8 * spi}")
        elif spi > first:
            parts += [f"fp{frame}{-8 * (one + 1)}" for one in range(first, spi)]
        elif halves[spi]:
            parts.append(f"fp{frame}{-8 * (spi + 1) + (4 if halves[spi] == 1 else 0)}h")
            spi += 1
        else:
            spi += 1
    return parts


# ---- registers


def registers_text(env: "Env") -> str:
    """Number of the cycle, registers that are read later, instruction."""
    lines = ["Live regs before insn:\n"]
    for at in _slots(env, 0, len(env.insns)):
        aux = env.aux[at]
        cycle = f"{aux.scc:3d} " if aux.scc else "    "
        live = "".join(str(r) if env.live_regs[at] >> r & 1 else "." for r in range(_SHOWN_REGS))
        text = env.insn_text(at)
        extended = f"{' ' * vlog_alignment(len(text))}; zext" if aux.zext_dst else ""
        lines.append(f"{cycle}{at:3d}: {live} {text}{extended}\n")
    return "".join(lines)
