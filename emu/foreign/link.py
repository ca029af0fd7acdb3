"""Code of a JIT that links against given addresses: where everything will lie, and its code as an `Image`.

Such code comes in one piece that is not touched, but for its calls between functions, which lead through gates. Where a
JIT does not say where its functions begin, it is one function that calls itself, and what happens inside of it is its own affair.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bpf import isa
from bpf.errors import InputError
from bpf.verified import Verified
from emu.foreign import prologue
from emu.foreign.scan import Field, Insn, scan
from emu.runtime.world import World
from emu.sandbox import Machine, addresses
from emu.sandbox.callees import callee_of
from jit.frame import Frame
from jit.image import Image, Layout, NativeFunction, Reloc

BASE: Final = addresses.IMAGE  # where the main function lies
_NO_FRAME: Final = Frame(0, (), {}, {}, 0, 0)


def layout_of(machine: Machine, world: World, symbols: Iterable[str]) -> Layout:
    """Where the code will lie, and what it refers to: its base, functions and variables by name, maps and their values.

    The same for every World of this program on this machine. A map without values at a fixed address has 0 there.
    """
    found = {
        name: machine.data_symbol(name) if callee_of(name).kind == "unknown" else machine.symbol(name)
        for name in symbols
    }
    count = len(world.program.maps)
    return Layout(
        (BASE,),
        found,
        tuple(world.map_pointer(index) for index in range(count)),
        tuple(_values(world, index) for index in range(count)),
    )


def _values(world: World, index: int) -> int:
    try:
        return world.map_value(index, 0)
    except InputError:
        return 0


def linked(
    verified: Verified,
    code: bytes,
    starts: Sequence[int] = (0,),
    offsets: Sequence[int | None] = (),
) -> Image:
    """One piece of code, linked to lie at BASE, as an image. starts: offset of each function, in the program's order; of
    the main function only, where nobody says more. offsets: where the code of each slot of `Verified.insns` begins, None or
    nothing where nobody says. Raises InputError when they do not fit the program."""
    name = verified.program.name
    if len(starts) not in (1, len(verified.subprogs)):
        raise InputError(name, "", f"has {len(verified.subprogs)} functions, and the code has {len(starts)}")
    if starts[0] != 0:
        raise InputError(name, "", f"its main function must come first, and is at offset {starts[0]:#x}")
    if len(set(starts)) != len(starts) or not all(0 <= start < len(code) for start in starts):
        raise InputError(name, "", "functions must begin at different offsets inside of the code")
    ends = sorted((*starts, len(code)))
    functions = []
    for number, start in enumerate(starts):
        end = ends[ends.index(start) + 1]
        placed = {off: slot for slot, off in enumerate(offsets) if off is not None}
        functions.append(_function(verified, number, code[start:end], start, starts, placed))
    return Image(verified, tuple(functions), tuple(starts))


def _function(
    verified: Verified,
    number: int,
    code: bytes,
    start: int,
    starts: Sequence[int],
    placed: Mapping[int, int],
) -> NativeFunction:
    base = BASE + start
    inside = [one - start for one in starts if start <= one < start + len(code)]
    found = scan(code, base, inside)
    targets = {BASE + one: place for place, one in enumerate(starts)} if len(starts) > 1 else {}
    relocs = tuple(
        Reloc(one.off, one.size, "call", targets[one.value])
        for one in found.fields
        if one.kind == "call" and one.value in targets
    )
    frame = prologue.recognise(found.insns)
    slots = _told(found.insns, start, placed) or _calls(verified, number, len(starts), found.fields)
    return NativeFunction(
        verified.subprogs[number].name,
        code,
        frame.size if frame is not None else 0,
        (),
        relocs,
        Frame(frame.stack, frame.saved, {}, {}, frame.outgoing, 0) if frame is not None else _NO_FRAME,
        points=tuple((one.off, slots.get(one.off, -1)) for one in found.insns),
    )


def _told(insns: Sequence[Insn], start: int, placed: Mapping[int, int]) -> dict[int, int]:
    """Slot by offset of each native instruction, as far as the JIT has said where the code of a slot begins."""
    out, slot = {}, -1
    for one in insns if placed else ():
        slot = placed.get(start + one.off, slot)
        out[one.off] = slot
    return out


def _calls(verified: Verified, number: int, functions: int, fields: Sequence[Field]) -> dict[int, int]:
    """Slot by offset of each native call, where the code has as many as the program, and so in its order; else nothing."""
    sub = verified.subprogs[number]
    end = sub.end if functions > 1 else len(verified.insns)
    calls = [slot for slot in range(sub.start, end) if verified.insns[slot].code == isa.OP_CALL]
    native = [one for one in fields if one.kind == "call" or one.called]
    if len(calls) != len(native):
        return {}
    return {one.call: slot for one, slot in zip(native, calls, strict=True)}
