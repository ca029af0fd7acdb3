"""The relation "the abstract state means the concrete one", value by value. Knows no instructions and no paths."""

from collections.abc import Sequence
from typing import Any

from bpf import isa
from bpf.isa import U32, U64
from emu.interp.layout import code_address, function_address
from emu.interp.state import Frame
from emu.runtime.maps import Map
from emu.runtime.world import World
from verifier import cnum
from verifier.env import Env
from verifier.num import UNKNOWN
from verifier.regs import (
    CONST_PTR_TO_MAP,
    NOT_INIT,
    PTR_MAYBE_NULL,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_CTX,
    PTR_TO_FUNC,
    PTR_TO_INSN,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_PACKET,
    PTR_TO_PACKET_END,
    PTR_TO_PACKET_META,
    PTR_TO_STACK,
    PTR_UNTRUSTED,
    SCALAR_VALUE,
    Reg,
)
from verifier.state import SPILL_BYTES, STACK_SPILL, STACK_ZERO, FuncState, Slot
from verifier.statelog import reg_text

Word = Any
_TAIL_CALL = 12
_NOTHING = (None,) * 11
_ENTRY = 8  # bytes of an address in a jump table
_MANY = 4096  # elements of an array among which the one that a pointer belongs to is searched

# ---- what is in a frame, by number: registers 0..10, outgoing stack arguments, 8-byte slots of the stack

ARGS = 16
SLOTS = 32
KEYS = 128  # numbers a frame


def key_name(key: int) -> str:
    """`r3`, `r11-8 (stored)`, `fp-16`; of an outer frame with its number."""
    frame, at = divmod(key, KEYS)
    name = f"r{at}" if at < ARGS else f"r11-{8 * (at - ARGS + 1)} (stored)"
    if at >= SLOTS:
        name = f"fp-{8 * (at - SLOTS + 1)}"
    return f"{name} of frame {frame}" if frame else name


class Outside:
    """Something concrete that the abstract state does not mean. where: of key_name. value: a word, None: undefined."""

    __slots__ = ("abstract", "value", "where")

    def __init__(self, where: str, value: Word, abstract: str) -> None:
        self.where = where
        self.value = value
        self.abstract = abstract


class _Seen:
    """What was found inside a frame's abstract state, with no number left out. raw: the bytes of `stack`, as they lie."""

    __slots__ = ("args", "out", "raw", "regs", "stack", "words")

    def __init__(self) -> None:
        self.regs: Sequence[Reg | None] = _NOTHING
        self.words: Sequence[Word] = _NOTHING
        self.args: Sequence[Reg] = ()
        self.out: Sequence[Word] = ()
        self.stack: Sequence[Slot] = ()
        self.raw = b""

    def word(self, spi: int) -> bytes:
        """The bytes of a slot of the stack."""
        at = len(self.raw) - 8 * (spi + 1)
        return self.raw[at : at + 8]


class Relation:
    """Of one program in one world; `env` is that of its verification."""

    def __init__(self, env: Env, world: World) -> None:
        self.env = env
        self.world = world
        self.may_tail_call = any(
            i.is_call and i.src == isa.HELPER_CALL and i.imm == _TAIL_CALL for i in env.insns
        )
        self._seen: list[_Seen] = []  # by number of the frame

    def forget(self) -> None:
        """Something was called, or came back: what pointers refer to may be elsewhere, or gone."""
        self._seen.clear()

    def outside(
        self, frames: Sequence[FuncState], actual: Sequence[Frame], loose: frozenset[int]
    ) -> Outside | None:
        """What of the concrete frames is outside, None when all is inside. loose: keys of numbers that are not asked for.

        What was found inside before is not asked again while state and word stay as they are.
        """
        while len(self._seen) < len(frames):
            self._seen.append(_Seen())
        for number, (one, frame) in enumerate(zip(frames, actual, strict=True)):
            # what is loose now may be bound soon, and is not looked at
            seen = _Seen() if loose else self._seen[number]
            found = None
            if one.regs != seen.regs or frame.regs != seen.words:
                found = self._registers(number, one, frame, actual, loose, seen)
            if found is None and (one.stack_args != seen.args or frame.out != seen.out):
                found = self._arguments(number, one, frame, actual, loose, seen)
            raw = bytes(frame.region.view[isa.MAX_STACK - 8 * len(one.stack) :])
            if found is None and (one.stack != seen.stack or raw != seen.raw):
                found = self._stack(number, one, raw, actual, loose, seen)
            if found is not None:
                return found
        return None

    def _registers(
        self,
        number: int,
        one: FuncState,
        frame: Frame,
        actual: Sequence[Frame],
        loose: frozenset[int],
        seen: "_Seen",
    ) -> Outside | None:
        at = -1
        for reg, word, same, before in zip(one.regs, frame.regs, seen.regs, seen.words, strict=True):
            at += 1
            if (reg is same and word == before) or reg.type == NOT_INIT or at == isa.FP:
                continue  # the frame pointer never changes
            if number * KEYS + at not in loose and not self.word(reg, word, actual):
                if word is None and at == 0 and self.may_tail_call:
                    continue  # what a tail call that failed left; the interpreter stops whoever reads it
                return Outside(key_name(number * KEYS + at), word, reg_text(number, reg))
        seen.regs, seen.words = one.regs, frame.regs[:]
        return None

    def _arguments(
        self,
        number: int,
        one: FuncState,
        frame: Frame,
        actual: Sequence[Frame],
        loose: frozenset[int],
        seen: "_Seen",
    ) -> Outside | None:
        """Outgoing stack arguments."""
        for at, reg in enumerate(one.stack_args):
            key = number * KEYS + ARGS + at
            if reg.type != NOT_INIT and key not in loose and not self.word(reg, frame.out[at], actual):
                return Outside(key_name(key), frame.out[at], reg_text(number, reg))
        seen.args, seen.out = one.stack_args, frame.out[:]
        return None

    def _stack(
        self,
        number: int,
        one: FuncState,
        raw: bytes,
        actual: Sequence[Frame],
        loose: frozenset[int],
        seen: "_Seen",
    ) -> Outside | None:
        stack, known, at = one.stack, len(seen.stack), len(raw)
        for spi, slot in enumerate(stack):
            at -= 8
            types = slot.types
            if types[7] != STACK_SPILL and STACK_ZERO not in types:
                continue
            if spi < known and slot is seen.stack[spi] and raw[at : at + 8] == seen.word(spi):
                continue
            key = number * KEYS + SLOTS + spi
            if key not in loose and not self._slot(slot, raw[at : at + 8], actual):
                text = reg_text(number, slot.reg) if slot.is_spilled else f"bytes {slot.types[::-1].hex()}"
                return Outside(key_name(key), int.from_bytes(raw[at : at + 8], "little"), text)
        seen.stack, seen.raw = stack, raw
        return None

    def _slot(self, slot: Slot, raw: bytes, actual: Sequence[Frame]) -> bool:
        """raw: the bytes in the order of addresses; types run the other way."""
        types = slot.types
        if STACK_ZERO in types and any(
            byte for byte, kind in zip(reversed(raw), types, strict=True) if kind == STACK_ZERO
        ):
            return False
        if types[7] != STACK_SPILL:
            return True
        if types == SPILL_BYTES:
            return self.word(slot.reg, int.from_bytes(raw, "little"), actual)
        size = 1
        while size < 8 and types[7 - size] == STACK_SPILL:
            size += 1
        word = int.from_bytes(raw[:size], "little")
        return slot.reg.type != SCALAR_VALUE or _low_bytes(slot.reg, word, size)

    # ---- one register

    def word(self, reg: Reg, word: Word, actual: Sequence[Frame]) -> bool:
        """Whether a register's or slot's word is one that `reg` means. actual: the frames that reg.frameno counts."""
        if reg.type == NOT_INIT:
            return True
        if word is None:
            return False
        if reg.type == SCALAR_VALUE:
            return reg.num is UNKNOWN or reg.num.contains(word)
        if word == 0 and reg.type & PTR_MAYBE_NULL:
            return True
        return self._pointer(reg, word, actual)

    def _pointer(self, reg: Reg, word: int, actual: Sequence[Frame]) -> bool:
        base = reg.base
        if base == PTR_TO_MAP_VALUE:
            return self._map_value(reg, word)
        if base == PTR_TO_ARENA:
            return word <= U32
        if base == PTR_TO_INSN:
            return self._instruction(reg, word)
        if base == PTR_TO_MEM and not reg.type & PTR_UNTRUSTED:
            return self._memory(reg, word)
        start = self._start(reg, actual)
        if start is not None:
            return reg.num.contains(word - start & U64) and self._in_reach(reg, start)
        # objects that have no layout here: the pointer is one, if the verifier says so
        return word != 0 or base == PTR_TO_BTF_ID or bool(reg.type & PTR_UNTRUSTED)

    def _instruction(self, reg: Reg, word: int) -> bool:
        """What one of the entries of a jump table holds, at one of the distances that the register means."""
        spec = self.world.maps[reg.map.index].spec
        return any(
            word == code_address(jump) and reg.num.contains(_ENTRY * at) for at, jump in enumerate(spec.jumps)
        )

    def _start(self, reg: Reg, actual: Sequence[Frame]) -> int | None:
        """Where the object that `reg` points into begins, None if the type does not say."""
        base, context, packet = reg.base, self.world.context, self.world.packet
        if base == PTR_TO_STACK:
            return actual[reg.frameno].low + isa.MAX_STACK
        if base == PTR_TO_CTX:
            return None if context is None else context.addr
        if base == CONST_PTR_TO_MAP and reg.map.index >= 0:
            return self.world.map_pointer(reg.map.index)
        if base == PTR_TO_FUNC:
            return function_address(self.env.layout.functions[reg.subprogno].start)
        if packet is None:
            return None
        if base == PTR_TO_PACKET:
            return packet.base + packet.data
        if base == PTR_TO_PACKET_META:
            return packet.base + packet.meta
        if base == PTR_TO_PACKET_END:
            return packet.base + packet.end
        return None

    def _in_reach(self, reg: Reg, start: int) -> bool:
        """Bytes of the packet that were compared with its end do lie before it."""
        packet = self.world.packet
        if packet is None or reg.id or reg.base != PTR_TO_PACKET or reg.pkt_range <= 0:
            return True
        return start + reg.pkt_range <= packet.base + packet.end

    def _memory(self, reg: Reg, word: int) -> bool:
        """PTR_TO_MEM: as many bytes as the verifier counts on are there."""
        if word == 0:
            return False
        if not reg.is_const or not reg.mem_size:
            return True
        start = word - reg.num.value & U64
        region = self.world.memory.region_at(start)
        return region is not None and start + reg.mem_size <= region.end

    def _map_value(self, reg: Reg, word: int) -> bool:
        """A pointer to a value: some value of the map begins at a distance that the offset allows."""
        if word == 0:
            return False
        one = self.world.maps[reg.map.index] if reg.map.index >= 0 else None
        values: int | None = getattr(one, "values", None)
        step: int | None = getattr(one, "elem_size", None)
        if one is not None and values is not None and step:
            return _in_array(reg, word, one, values, step)
        region = self.world.memory.region_at(word - reg.num.value & U64 if reg.is_const else word)
        if region is None or region.kind != "value":
            # of an element that was deleted, or behind an element
            return True
        behind = not reg.is_const and word >= region.end
        return behind or one is None or reg.num.contains(word - region.base & U64)


def _in_array(reg: Reg, word: int, one: Map, values: int, step: int) -> bool:
    count = one.spec.max_entries * one.cpus
    if reg.is_const:
        at = word - reg.num.value - values & U64
        return at % step == 0 and 0 <= at < step * count
    if count > _MANY:
        return True
    return any(reg.num.contains(word - start & U64) for start in range(values, values + step * count, step))


def _low_bytes(reg: Reg, word: int, size: int) -> bool:
    """Whether the low bytes of what `reg` means can be these."""
    num = reg.num
    if (word ^ num.value) & ~num.mask & ((1 << 8 * size) - 1):
        return False
    return size != 4 or cnum.contains(num.base32, num.size32, word, U32)
