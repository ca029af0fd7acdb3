"""The annotated listing and the frames as JSON: what `bpfemu jit --json` adds to the `jit` object of docs/formats.md.

Only renders; decides nothing.
"""

from bpf import isa
from bpf.disasm import disasm
from emu.answer import JsonObject
from jit.argflow import ArgumentFlow, Incoming, Outgoing, argument_place, function
from jit.frame import Frame, Place
from jit.image import Image
from jit.picture import spell


def with_listing(answer: JsonObject, image: Image) -> JsonObject:
    """`answer` (of `jit_json`) with the keys `params`, `frame` and `insns` in each function."""
    jited = answer["jited"]
    assert isinstance(jited, list)
    for number, one in enumerate(jited):
        callee = function(image.verified, number)
        one["params"] = [spell(param) for param in callee.params]
        one["frame"] = frame_json(image.functions[number].frame)
        one["insns"] = _insns(image, number)
    return answer


def frame_json(frame: Frame) -> JsonObject:
    """The body's frame by offsets from rbp, and `rows`: what holds from each native offset on, for unwinders."""
    return {
        "stack_depth": frame.stack_depth,
        "size": frame.size,
        "saved": dict(frame.saved),
        "incoming": {str(number): _place(place) for number, place in frame.incoming.items()},
        "outgoing": {str(number): _place(place) for number, place in frame.outgoing.items()},
        "rows": [_row(frame, off) for off in frame.changes()],
    }


def _place(place: Place) -> JsonObject:
    return {"reg": place.reg} if place.off is None else {"reg": place.reg, "off": place.off}


def _row(frame: Frame, off: int) -> JsonObject:
    moment = frame.at(off)
    return {
        "off": off,
        "depth": moment.depth,
        "cfa": _place(moment.cfi.cfa),
        "saved": moment.cfi.saved,
        "stack": None if moment.stack is None else moment.stack.rsp,
        "pointer": None if moment.pointer is None else _place(moment.pointer),
        "outgoing": {str(number): spot.rsp for number, spot in moment.outgoing.items()},
    }


def _insns(image: Image, number: int) -> list[JsonObject]:
    """Every BPF instruction of a function, with what it does to arguments."""
    verified, sub = image.verified, image.verified.subprogs[number]
    offsets, flow = image.functions[number].offsets, ArgumentFlow(verified, number)
    out: list[JsonObject] = []
    for slot in range(sub.start, sub.end):
        insn = verified.insns[slot]
        if insn.code == 0:
            continue
        following = verified.insns[slot + 1] if slot + 1 < len(verified.insns) else None
        at = slot - sub.start
        end = offsets[at + (2 if insn.code == isa.LD_IMM64 else 1)]
        one: JsonObject = {
            "insn": slot,
            "origin": verified.origin[slot],
            "text": "tail call" if insn.code == isa.OP_TAIL_CALL else disasm(insn, following),
            "off": offsets[at],
            "len": end - offsets[at],
        }
        callee = flow.callee(slot)
        if callee is not None:
            one["callee"] = {"name": callee.name, "kind": callee.kind, "nargs": callee.nargs}
        moves = [_move(image, number, slot, flow, move) for move in flow.moves(slot)]
        if moves:
            one["args"] = moves
        out.append(one)
    return out


def _move(image: Image, number: int, slot: int, flow: ArgumentFlow, move: Incoming | Outgoing) -> JsonObject:
    place = argument_place(image, number, slot, move)
    if isinstance(move, Incoming):
        return {"arg": move.argument, "direction": "in", "place": place}
    calls: list[JsonObject] = []
    for call in move.calls:
        callee = flow.callee(call)
        assert callee is not None
        param = callee.param(move.argument)
        calls.append({"insn": call, "callee": callee.name, "param": spell(param) if param else None})
    return {"arg": move.argument, "direction": "out", "place": place, "calls": calls}
