"""From a recording of a real kernel to `Verified`, `Layout` and the bytes that must come out.

The recording has the program after the kernel's fixups (`xlated`) in the form in which the kernel shows it: calls hold
differences of addresses, map loads hold ids. Here they become what a verifier would hand over.
"""

import json
from typing import Any

from bpf import isa
from bpf.codec import decode
from bpf.insn import Insn
from bpf.maps import MapSpec
from bpf.program import KfuncRef, Program
from bpf.verified import Subprog, Verified
from jit import DEFAULT, Profile, compile_program, place, preset
from jit.image import Layout
from tests.jit.verified import FIXTURES, records

_TAIL_CALL_HELPER = 12
_META = json.loads((FIXTURES / "meta.json").read_text())
_KERNEL_SYMBOLS = {name: int(address, 0) for name, address in _META["symbols"].items()}


def _starts(insns: tuple[Insn, ...], count: int) -> list[int]:
    """First slots of the functions: 0, and every target of a call or of a function pointer, in order."""
    starts = {0}
    if count == 1:
        return [0]
    for slot, insn in enumerate(insns):
        if insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL:
            starts.add(slot + 1 + insn.off)
        if insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC:
            starts.add(slot + 1 + insn.imm)
    assert len(starts) == count, (starts, count)
    return sorted(starts)


class Recording:
    """One recording, made ready for the JIT."""

    def __init__(self, record: dict[str, Any]) -> None:
        expect = record["expect"]
        self.jited = expect["jited"]
        self.insns = list(decode(bytes.fromhex(expect["xlated"])))
        starts = _starts(tuple(self.insns), len(self.jited))
        self.bounds = list(zip(starts, [*starts[1:], len(self.insns)], strict=True))
        self.symbols: dict[int, str] = {}
        self.symbol_addresses = dict(_KERNEL_SYMBOLS)
        self.tail_calls = 0
        self.kfuncs: list[KfuncRef] = []
        self.maps: dict[int, int] = {}  # kernel's id -> our index
        self.map_addresses: dict[int, int] = {}
        self.value_addresses: dict[int, int] = {}
        for number, function in enumerate(self.jited):
            self._take_function(number, function)
        self.reachable = self._reach_tail_calls()
        self.subs = tuple(self._sub(number, expect["subprogs"]) for number in range(len(self.jited)))

    def _take_function(self, number: int, function: dict[str, Any]) -> None:
        start, end = self.bounds[number]
        slots = range(start, end)
        call_slots = [
            slot for slot in slots if self.insns[slot].code == isa.OP_CALL and not self._tail_call(slot)
        ]
        calls = [call for call in function.get("calls", ()) if call["op"] == "e8"]
        for slot, call in zip(call_slots, calls, strict=True):
            self._take_call(slot, call)
        pointers = [p for p in function.get("ptrs", ()) if p["kind"] in ("map", "mapval")]
        for pointer in pointers:
            index = self.maps.setdefault(pointer["map_id"], len(self.maps))
            value = int(str(pointer["value"]), 0)
            if pointer["kind"] == "map":
                self.map_addresses[index] = value
            else:
                self.value_addresses[index] = value - int(pointer["add"])
        for slot in slots:
            insn = self.insns[slot]
            if insn.code == isa.LD_IMM64 and insn.src in (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_VALUE):
                self.insns[slot] = Insn(insn.code, insn.dst, insn.src, 0, self.maps[insn.imm])

    def _tail_call(self, slot: int) -> bool:
        """Turns a call of helper 12 into what the JIT gets; all recorded ones have a known map and index."""
        insn = self.insns[slot]
        if insn.src != isa.HELPER_CALL or insn.imm != _TAIL_CALL_HELPER:
            return False
        self.tail_calls += 1
        self.insns[slot] = Insn(isa.OP_TAIL_CALL, 0, 0, 0, self.tail_calls)
        return True

    def _reach_tail_calls(self) -> set[int]:
        """Functions with a tail call, and all that call those."""
        number_of = {start: number for number, (start, _) in enumerate(self.bounds)}
        calls = {
            (number, number_of[slot + 1 + self.insns[slot].imm])
            for number, (start, end) in enumerate(self.bounds)
            for slot in range(start, end)
            if self.insns[slot].code == isa.OP_CALL and self.insns[slot].src == isa.PSEUDO_CALL
        }
        found = {
            number
            for number, (start, end) in enumerate(self.bounds)
            if any(insn.code == isa.OP_TAIL_CALL for insn in self.insns[start:end])
        }
        while more := {caller for caller, callee in calls if callee in found} - found:
            found |= more
        return found

    def _take_call(self, slot: int, call: dict[str, Any]) -> None:
        insn = self.insns[slot]
        if insn.src == isa.PSEUDO_CALL:
            self.insns[slot] = Insn(insn.code, 0, isa.PSEUDO_CALL, 0, insn.off)
            return
        name = call["target"]
        self.symbol_addresses[name] = int(str(call["addr"]), 0)
        if insn.src == isa.PSEUDO_KFUNC_CALL:
            self.insns[slot] = Insn(insn.code, 0, isa.PSEUDO_KFUNC_CALL, 0, len(self.kfuncs))
            self.kfuncs.append(KfuncRef(slot, name))
        else:
            self.symbols[slot] = name

    def _sub(self, number: int, subprogs: list[dict[str, Any]]) -> Subprog:
        start, end = self.bounds[number]
        body = self.insns[start:end]
        stack = max((stack_of(insn) for insn in body), default=0)
        name = subprogs[number]["name"] if number < len(subprogs) else f"f{number}"
        out = max(
            (isa.store_slot(i.off) + 1 for i in body if isa.is_stack_arg_store(i.code, i.dst, i.off)),
            default=0,
        )
        taken = max(
            (isa.load_slot(i.off) + 1 for i in body if isa.is_stack_arg_load(i.code, i.src, i.off)), default=0
        )
        return Subprog(
            name,
            start,
            end,
            "static" if number else "main",
            stack_depth=max(stack, subprogs[number]["stack"] if number < len(subprogs) else 0),
            in_stack_args=taken,
            out_stack_args=out,
            tail_call_reachable=number in self.reachable,
        )

    def verified(self) -> Verified:
        maps = tuple(MapSpec(f"m{index}", 2, 4, 8, 1) for index in range(len(self.maps)))
        insns = tuple(self.insns)
        program = Program("recording", insns, maps=maps)
        origin = tuple(range(len(insns)))
        return Verified(program, insns, origin, self.subs, tuple(self.kfuncs), self.symbols)

    def layout(self) -> Layout:
        count = range(len(self.maps))
        return Layout(
            tuple(int(str(function["addr"]), 0) for function in self.jited),
            self.symbol_addresses,
            tuple(self.map_addresses.get(index, 0) for index in count),
            tuple(self.value_addresses.get(index, 0) for index in count),
        )


def stack_of(insn: Insn) -> int:
    """Bytes of stack that a direct access through r10 shows; a lower bound."""
    base = insn.src if insn.cls == isa.LDX else insn.dst
    return -insn.off if insn.cls in (isa.LDX, isa.ST, isa.STX) and base == isa.FP else 0


def compare(record: dict[str, Any], profile: Profile = DEFAULT) -> tuple[list[str], list[str]]:
    """What we make of a recorded program and what the kernel made, one hex string a function."""
    recording = Recording(record)
    image = compile_program(recording.verified(), profile)
    got = [code.hex() for code in place(image, recording.layout())]
    return got, [function["hex"] for function in recording.jited]


__all__ = ["DEFAULT", "Recording", "compare", "preset", "records"]
