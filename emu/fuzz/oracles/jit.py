"""Native code is a function of the program, depends on its place in its relocations only, and these are right.

What a field must hold is worked out here from the BPF instruction that it belongs to, not from the relocation; jumps
are read back from the bytes by a disassembler. For images of our own JIT; another one has no relocations to look at.
"""

from collections.abc import Iterator
from itertools import pairwise

from bpf import isa
from bpf.helpers import HELPERS
from bpf.verified import Verified
from emu.fuzz.finding import Finding
from emu.fuzz.oracles.exam import Exam
from emu.fuzz.oracles.native import check_code
from jit import compile_program, place
from jit.image import Image, Layout, NativeFunction, Reloc
from jit.lower import lowering

_MAP_POINTERS = (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX)
_MAP_VALUES = (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE)
_RELATIVE = ("call", "jump", "rel")
_SHIFTS = (0, 0x1230)  # of the addresses of a layout


def judge(exam: Exam) -> Iterator[Finding]:
    """Bytes of a second compilation, fields, places; in thorough cases with nothing remembered of the first."""
    image, verified = exam.case.image, exam.verified
    if image is None or verified is None:
        return
    if exam.thorough:
        lowering.cache_clear()
    if compile_program(verified, exam.pipeline.options.profile) != image:
        yield Finding("jit", "compiled otherwise", "a second compilation gives another image")
    placed = _Placed(image)
    for number, function in enumerate(image.functions):
        for kind, message, slot in _faults(image, number, placed):
            yield Finding(
                "jit",
                kind,
                f"{function.name}: {message}",
                verified.origin[slot] if 0 <= slot < len(verified.origin) else None,
            )


Fault = tuple[str, str, int]  # kind, message, slot of Verified.insns or -1


class _Placed:
    """An image at some layouts that have nothing in common, each placed when it is first asked for."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.layouts = [_layout(image, shift) for shift in _SHIFTS]
        self._codes: dict[int, tuple[bytes, ...]] = {}

    def code(self, layout: int, number: int) -> bytes:
        """Function `number` at a layout, by its place in `layouts`."""
        if layout not in self._codes:
            self._codes[layout] = place(self._image, self.layouts[layout])
        return self._codes[layout][number]


def _faults(image: Image, number: int, placed: _Placed) -> Iterator[Fault]:
    function = image.functions[number]
    shape = _shape(image, number)
    if shape:
        yield "shape", shape, -1
        return
    yield from _fields(image.verified, number, function)
    for at, layout in enumerate(placed.layouts):
        yield from _at_layout(image, number, layout, placed.code(at, number))
    yield from check_code(image, number)


def _shape(image: Image, number: int) -> str:
    """What is wrong with the offsets of instructions, "" for nothing."""
    function, sub = image.functions[number], image.verified.subprogs[number]
    offsets = function.offsets
    if len(offsets) != sub.end - sub.start + 1:
        return f"{len(offsets)} offsets for {sub.end - sub.start} instructions"
    if offsets[0] != function.prologue or offsets[-1] != len(function.code):
        return f"instructions at {offsets[0]}..{offsets[-1]} of {len(function.code)} bytes"
    if any(before > after for before, after in pairwise(offsets)):
        return "offsets that are not in order"
    for reloc in function.relocs:
        low = 0 if reloc.insn < 0 else offsets[reloc.insn - sub.start]
        high = function.prologue if reloc.insn < 0 else offsets[reloc.insn - sub.start + 1]
        if wide(image.verified, reloc.insn):
            high = offsets[reloc.insn - sub.start + 2]
        if not low <= reloc.off <= reloc.off + reloc.size <= high:
            return f"a field at {reloc.off:#x}, outside of its instruction"
    return ""


def wide(verified: Verified, slot: int) -> bool:
    """Whether an instruction has two slots."""
    return slot >= 0 and verified.insns[slot].code == isa.LD_IMM64


# ---- what refers to something


def _fields(verified: Verified, number: int, function: NativeFunction) -> Iterator[Fault]:
    """Each instruction that refers to something has one field, and the field is empty in the code."""
    sub = verified.subprogs[number]
    found: dict[int, int] = {}
    for reloc in function.relocs:
        if any(function.code[reloc.off : reloc.off + reloc.size]):
            yield "field", f"the field at {reloc.off:#x} is not empty", reloc.insn
        if reloc.kind not in ("jump", "rel") and reloc.insn >= 0:
            found[reloc.insn] = found.get(reloc.insn, 0) + 1
    for slot in range(sub.start, sub.end):
        if _refers(verified, slot) and found.get(slot, 0) != 1:
            yield (
                "relocation",
                f"{found.get(slot, 0)} fields of an instruction that refers to something",
                slot,
            )


def _refers(verified: Verified, slot: int) -> bool:
    insn = verified.insns[slot]
    if insn.code == isa.OP_CALL or slot in verified.symbols:
        return True
    return insn.code == isa.LD_IMM64 and insn.src in _MAP_POINTERS + _MAP_VALUES


def _layout(image: Image, shift: int) -> Layout:
    """Addresses that have nothing to do with each other; shift: how this layout differs from another."""
    names = {reloc.symbol for function in image.functions for reloc in function.relocs if reloc.symbol}
    maps = len(image.verified.program.maps)
    return Layout(
        tuple(0xFFFF_FFFF_C000_0000 + (0x10000 + shift) * at for at in range(len(image.functions))),
        {name: 0xFFFF_FFFF_8100_0000 + 5 * shift + 64 * at for at, name in enumerate(sorted(names))},
        tuple(0xFFFF_8880_0100_0000 + 3 * shift + 0x10000 * at for at in range(maps)),
        tuple(0xFFFF_8881_0100_0000 + 7 * shift + 0x10000 * at for at in range(maps)),
    )


def _at_layout(image: Image, number: int, layout: Layout, code: bytes) -> Iterator[Fault]:
    """code: the bytes at a layout: those of the image, and in each field what its instruction means."""
    function, base = image.functions[number], layout.functions[number]
    rest = bytearray(code)
    for reloc in function.relocs:
        field = slice(reloc.off, reloc.off + reloc.size)
        rest[field] = bytes(reloc.size)
        value = int.from_bytes(code[field], "little", signed=True)
        if reloc.kind in _RELATIVE:
            value += base + reloc.off + reloc.size
        meant = _meant(image.verified, reloc, layout)
        if meant is not None and value & isa.U64 != meant & isa.U64:
            text = f"the {reloc.kind} at {reloc.off:#x} leads to {value & isa.U64:#x}, not to {meant & isa.U64:#x}"
            yield f"relocated {reloc.kind}", text, reloc.insn
    if rest != function.code:
        yield "placed", "bytes outside of all fields depend on the layout", -1


def _meant(verified: Verified, reloc: Reloc, layout: Layout) -> int | None:
    """The address that the instruction of a field refers to; None where it says nothing of it (thunks, per-CPU data)."""
    if reloc.insn < 0 or reloc.kind in ("jump", "rel"):
        return None
    slot, insn = reloc.insn, verified.insns[reloc.insn]
    if slot in verified.symbols:
        return layout.symbols.get(verified.symbols[slot])
    if insn.code == isa.OP_CALL:
        return _callee(verified, slot, layout)
    if insn.code != isa.LD_IMM64:
        return None
    if insn.src in _MAP_POINTERS:
        return layout.maps[insn.imm]
    if insn.src in _MAP_VALUES:
        return layout.values[insn.imm] + (verified.insns[slot + 1].imm & isa.U32)
    return _function(verified, slot + 1 + insn.imm, layout)


def _callee(verified: Verified, slot: int, layout: Layout) -> int | None:
    insn = verified.insns[slot]
    if insn.src == isa.PSEUDO_CALL:
        # the call of a callback that is gone, in an inlined loop of no rounds, leads nowhere in particular
        return _function(verified, slot + 1 + insn.imm, layout) if verified.several_functions else None
    if insn.src == isa.PSEUDO_KFUNC_CALL:
        return layout.symbols.get(verified.kfuncs[insn.imm].name)
    helper = HELPERS[insn.imm]
    return layout.symbols.get(helper.symbol or helper.name)


def _function(verified: Verified, start: int, layout: Layout) -> int | None:
    numbers = [number for number, sub in enumerate(verified.subprogs) if sub.start == start]
    return layout.functions[numbers[0]] if numbers else None
