"""Compiled programs at addresses, and the way back from an address to the BPF instruction.

Knows images and layouts; nothing of processors.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from bpf import isa
from bpf.errors import InputError
from bpf.maps import MapType
from bpf.program import Program
from emu.native import bpf_text, function_starts
from emu.runtime import variables
from emu.runtime.maps_arena import arena_of, base_of
from emu.sandbox import addresses, gates
from emu.sandbox.callees import callee_of
from emu.sandbox.machine import Machine
from jit.image import Image, Layout, NativeFunction
from jit.layout import ARENA_SYMBOL, private_stack_symbol
from jit.place import place

_ALIGN = 16
_CALLS = frozenset(("call", "jump"))
_addr = attrgetter("addr")
_NOP5 = bytes.fromhex("0f1f440000")
_RESERVE = 1 << 16  # bytes behind all functions, for what else native code reads there


@dataclass(frozen=True, slots=True)
class Function:
    """A native function in place. number: in its image, -1 for foreign code; image: None for foreign code."""

    addr: int
    code: bytes
    name: str
    number: int = -1
    image: Image | None = None

    @property
    def end(self) -> int:
        """First address behind it."""
        return self.addr + len(self.code)

    @property
    def foreign(self) -> bool:
        """Whether another compiler made it, in a way of its own: then it may call through registers."""
        return self.image is None or not self.image.functions[self.number].offsets


@dataclass(frozen=True, slots=True)
class Site:
    """Where in the program a native address belongs. insn: index in `Program.insns`, None where that is unknown."""

    function: Function
    off: int
    insn: int | None

    @property
    def program(self) -> Program | None:
        """The program it is in, None for foreign code."""
        return self.function.image.verified.program if self.function.image else None

    def text(self) -> str:
        """`insn 12: r1 = *(u64 *)(r2 +8)`, or `name+0x1f` where no instruction is known."""
        program = self.program
        if program is None or self.insn is None or not 0 <= self.insn < len(program.insns):
            return f"{self.function.name}+{self.off:#x}"
        return bpf_text(program, self.insn)


def usual(function: Function) -> bool:
    """Whether its frame is of the kernel's kind."""
    image = function.image
    if image is None:
        return True
    native = image.functions[function.number]
    return bool(native.offsets) or native.prologue > 0


class CodeMap:
    """All functions in place, by address."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self.main = functions[0]
        self.functions = sorted(functions, key=_addr)
        self._starts = [one.addr for one in self.functions]
        self.gated = [one for one in functions if one.image is not None][: addresses.GATE_COUNT]
        self._sites: dict[int, Site | None] = {}

    @cached_property
    def usual(self) -> bool:
        """Whether all frames are of the kernel's kind."""
        return all(map(usual, self.functions))

    @cached_property
    def private(self) -> dict[int, tuple[int, int]]:
        """Program stacks in per-CPU memory, (lowest address, r10), by the number of the function's gate."""
        out = {}
        for number, one in enumerate(self.gated):
            assert one.image is not None
            sub = one.image.verified.subprogs[one.number]
            if sub.private_stack:
                for reloc in one.image.functions[one.number].relocs:
                    if reloc.symbol == private_stack_symbol(sub):
                        field = one.code[reloc.off : reloc.off + reloc.size]
                        top = int.from_bytes(field, "little", signed=True) & isa.U64
                        out[number] = top - -(-sub.stack_depth // 8) * 8, top
        return out

    @cached_property
    def numbers(self) -> dict[int, int]:
        """Numbers of the functions in their programs, by address: a program may have more of them than its image."""
        out = {}
        for one in self.functions:
            if one.image is not None:
                verified = one.image.verified
                first = verified.origin[verified.subprogs[one.number].start]
                out[one.addr] = bisect_right(function_starts(verified.program), first) - 1
        return out

    @cached_property
    def targets(self) -> dict[int, int]:
        """Instructions of the main program that jump tables may name, by address."""
        image = self.main.image
        if image is None or not any(spec.type == MapType.INSN_ARRAY for spec in image.verified.program.maps):
            return {}
        found: dict[int, int] = {}
        own = [one for one in self.functions if one.image is image]
        for insn, (number, off) in code_places(image).items():
            found.update((one.addr + off, insn) for one in own if one.number == number)
        return found

    @cached_property
    def _gates(self) -> dict[int, int]:
        return {one.addr: gates.gate(number) for number, one in enumerate(self.gated)}

    def gate(self, addr: int) -> int:
        """Where to call the function at `addr`: its gate, itself when it has none."""
        return self._gates.get(addr, addr)

    def behind_gate(self, number: int) -> Function | None:
        """The function that a gate leads to."""
        return self.gated[number] if 0 <= number < len(self.gated) else None

    def function_at(self, addr: int) -> Function | None:
        """The function that holds the byte at `addr`."""
        at = bisect_right(self._starts, addr) - 1
        if at < 0:
            return None
        function = self.functions[at]
        return function if addr < function.end else None

    def site(self, addr: int) -> Site | None:
        """Where the native instruction that holds the byte at `addr` belongs; None outside of all functions."""
        return self._site(addr, self.function_at(addr))

    def _site(self, addr: int, function: Function | None) -> Site | None:
        """As `site`, in the function that holds the byte at `addr`."""
        if addr not in self._sites:
            self._sites[addr] = None if function is None else self._find(addr, function)
        return self._sites[addr]

    def _find(self, addr: int, function: Function) -> Site:
        off = addr - function.addr
        image = function.image
        if image is None:
            return Site(function, off, None)
        native = image.functions[function.number]
        if not native.offsets:
            at = bisect_right(native.points, (off, len(image.verified.insns))) - 1
            slot = native.points[at][1] if at >= 0 else -1
            return Site(function, off, image.verified.origin[slot] if slot >= 0 else None)
        slot = bisect_right(native.offsets, off) - 1
        start = image.verified.subprogs[function.number].start
        if off < native.prologue or not 0 <= slot < len(native.offsets) - 1:
            return Site(function, off, None)
        return Site(function, off, image.verified.origin[start + slot])

    @cached_property
    def foreign(self) -> bool:
        """Whether another compiler made any of the functions of a program, in a way of its own."""
        return any(one.foreign and one.image is not None for one in self.functions)

    def is_sibling_call(self, ret: int) -> bool:
        """Whether what returns to `ret` was jumped to in place of a call and a return, as compilers may do: its return
        address is that of the function that jumped, which leads to a gate or to the end of the run."""
        text = addresses.TEXT <= ret < addresses.NATIVES or addresses.GATE_CODE <= ret < addresses.GATE_SLOTS
        return text and self.foreign

    def call_site(self, ret: int, target: int) -> Site | None:
        """The call that returns to `ret` and may go to `target`; None when no such call stands in front of it."""
        function = self.function_at(ret - 1)
        if function is None:
            return None
        off, code = ret - function.addr, function.code
        if off >= 5 and code[off - 5] == 0xE8:
            reached = ret + int.from_bytes(code[off - 4 : off], "little", signed=True)
            if reached % (1 << 64) == target:
                return self._site(ret - 5, function)
        # Our own code calls directly only.
        if function.foreign and off >= 2 and code[off - 2] == 0xFF and code[off - 1] & 0xF8 == 0xD0:
            return self._site(ret - 2, function)
        return None


def code_places(image: Image) -> dict[int, tuple[int, int]]:
    """For each instruction of the program that has native code its function's number and its offset there.

    What was put in front of a function's first instruction, the start of a may_goto's count, is no part of that one.
    """
    verified = image.verified
    found: dict[int, tuple[int, int]] = {}
    for number, (sub, native) in enumerate(zip(verified.subprogs, image.functions, strict=False)):
        if native.offsets:
            slots = list(zip(range(sub.start, sub.end), native.offsets, strict=False))
        else:
            slots = [(slot, off) for off, slot in native.points if slot >= 0]
        for slot, off in slots:
            insn = verified.origin[slot]
            if insn not in found or (slot in verified.indirect_targets and found[insn][0] == number):
                found[insn] = number, off
    return found


@dataclass(frozen=True, slots=True)
class Loaded:
    """Images in place: layout and codes of the main one, and everything to load.

    In `functions` calls go through gates, in `codes`, which are for showing, directly.
    """

    layout: Layout
    codes: tuple[bytes, ...]
    functions: tuple[Function, ...]
    entries: dict[str, int]


def load(
    machine: Machine,
    images: Sequence[tuple[str, Image]],
    maps: tuple[int, ...],
    values: tuple[int, ...],
    tail_call_offset: int,
) -> Loaded:
    """Give every image its addresses, the first from IMAGE on, and fill them in.

    tail_call_offset: where in a program a tail call enters it. Raises InputError when the code does not fit the image area, or does not fit together.
    """
    at = addresses.IMAGE
    starts: list[list[int]] = []
    entries: dict[str, int] = {}
    for name, image in images:
        own = []
        base = at
        for number, native in enumerate(image.functions):
            start = base + image.starts[number] if image.starts else at
            own.append(start)
            at = max(at, start + -(-len(native.code) // _ALIGN) * _ALIGN + _ALIGN)
        if at > addresses.IMAGE + addresses.IMAGE_SIZE - _RESERVE:
            raise InputError(image.verified.program.name, "", "native code does not fit into 16 MiB")
        starts.append(own)
        entries.setdefault(name, own[0])
    targets = {name: addr + tail_call_offset for name, addr in entries.items()}
    functions: list[Function] = []
    shown: list[tuple[bytes, ...]] = []
    layouts: list[Layout] = []
    for (_, image), own in zip(images, starts, strict=True):
        layout = Layout(tuple(own), _symbols(machine, image), maps, values)
        codes = tuple(
            _poked(image, native, start, code, targets)
            for native, start, code in zip(image.functions, own, place(image, layout), strict=True)
        )
        first_gate = len(functions)
        functions += [
            Function(start, _through_gates(native, start, code, first_gate), native.name, number, image)
            for number, (native, start, code) in enumerate(zip(image.functions, own, codes, strict=True))
        ]
        shown.append(codes)
        layouts.append(layout)
    if not layouts:
        raise InputError("image", "", "nothing to load")
    return Loaded(layouts[0], shown[0], tuple(functions), entries)


def _through_gates(native: NativeFunction, start: int, code: bytes, first_gate: int) -> bytes:
    """Code with its calls of functions of the image directed to gates; where there are too few, some stay direct.

    first_gate: the gate of the image's first function.
    """
    out = None
    for reloc in native.relocs:
        # One with an addend misses its target, and is to do so.
        if (
            reloc.symbol
            or reloc.addend
            or reloc.kind not in _CALLS
            or first_gate + reloc.target >= addresses.GATE_COUNT
        ):
            continue
        out = out or bytearray(code)
        end = reloc.off + reloc.size
        distance = gates.gate(first_gate + reloc.target) - (start + end)
        out[reloc.off : end] = distance.to_bytes(reloc.size, "little", signed=True)
    return code if out is None else bytes(out)


def _poked(
    image: Image, native: NativeFunction, start: int, code: bytes, targets: Mapping[str, int]
) -> bytes:
    """Code with its direct tail calls pointed to what the prog arrays hold. targets: addresses by program."""
    if not native.pokes:
        return code
    verified, out = image.verified, bytearray(code)
    for poke in native.pokes:
        index, key = verified.pokes[poke.number - 1]
        target = targets.get(dict(verified.program.maps[index].progs).get(key, ""))
        if target is not None:
            end = poke.target + len(_NOP5)
            out[poke.bypass : poke.bypass + len(_NOP5)] = _NOP5
            out[poke.target : end] = b"\xe9" + (target - start - end).to_bytes(4, "little", signed=True)
    return bytes(out)


def _symbols(machine: Machine, image: Image) -> dict[str, int]:
    symbols = variables.symbols(image.verified.program) if image.verified.symbols else {}
    for native in image.functions:
        for reloc in native.relocs:
            if reloc.symbol == ARENA_SYMBOL:
                symbols[reloc.symbol] = base_of(arena_of(image.verified.program) or 0)
            elif reloc.symbol and reloc.symbol not in symbols:
                code = reloc.kind in _CALLS or callee_of(reloc.symbol).kind != "unknown"
                find = machine.symbol if code else machine.data_symbol
                symbols[reloc.symbol] = find(reloc.symbol)
    return symbols
