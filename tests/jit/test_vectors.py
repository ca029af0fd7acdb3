"""Every single-instruction vector and every function listing made with the kernel's own emitter."""

from typing import Any

import pytest

from bpf import isa
from bpf.codec import decode
from bpf.insn import Insn
from bpf.verified import Subprog, Verified
from jit import compile_program, place
from jit.image import Layout
from tests.jit.verified import from_options, records

_BASE = 0xFFFF_FFFF_A000_0000  # of the function, and below of what it calls: section D's harness
_CALLS = 0xFFFF_FFFF_8100_0000
_EXIT = Insn(isa.OP_EXIT)
_SYMBOLS = {
    "__x86_return_thunk": 0xFFFF_FFFF_8200_0000,
    "__x86_indirect_thunk_rcx": 0xFFFF_FFFF_8201_0020,
    "this_cpu_off": 0xFFFF_FFFF_DB76_6B40,
}


def _layout(verified: Verified, options: dict[str, int]) -> Layout:
    symbols = {name: _CALLS + int(name.split("+")[1], 16) for name in verified.symbols.values()}
    symbols |= _SYMBOLS
    symbols |= {"arena_vm_start": options.get("arena", 0), "priv_stack:f:0": options.get("priv", 0)}
    return Layout((_BASE,), symbols)


@pytest.mark.parametrize("letters", ["a", "bcdefgh", "jkl", "mn", "ors", "xyz"])
def test_single_instructions(letters: str) -> None:
    different = []
    count = 0
    for record in records("x86/instructions.jsonl.gz"):
        if record["name"][0] not in letters:
            continue
        count += 1
        insns = decode(bytes.fromhex(record["insns"]))
        verified, profile = from_options((*insns, _EXIT), record["options"])
        function = compile_program(verified, profile).functions[0]
        native = function.code[function.prologue : function.offsets[len(insns)]].hex()
        if native != record["native"]:
            different.append((record["name"], native, record["native"]))
    assert not different, different[:5]
    assert count > 100, "the vectors are missing"


def test_all_vectors_are_there() -> None:
    assert sum(1 for _ in records("x86/instructions.jsonl.gz")) == 20_576
    assert sum(1 for _ in records("x86/functions.jsonl.gz")) == 2_006


def _with_callees(insns: tuple[Insn, ...], verified: Verified) -> tuple[Verified, dict[int, int]]:
    """The listings call BPF functions at arbitrary places: give each an empty function behind the program."""
    body = list(insns)
    subs = list(verified.subprogs)
    targets = {}
    for slot, insn in enumerate(insns):
        if insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL:
            start = len(body)
            body.append(_EXIT)
            targets[len(subs)] = _CALLS + insn.imm
            subs.append(Subprog(f"callee{slot}", start, start + 1, "static"))
            body[slot] = Insn(insn.code, 0, insn.src, 0, start - slot - 1)
    code = tuple(body)
    return (
        Verified(verified.program, code, tuple(range(len(code))), tuple(subs), symbols=verified.symbols),
        targets,
    )


def _listing(record: dict[str, Any]) -> tuple[object, ...]:
    insns = decode(bytes.fromhex(record["insns"]))
    verified, profile = from_options(insns, record["options"])
    layout = _layout(verified, record["options"])
    verified, targets = _with_callees(insns, verified)
    image = compile_program(verified, profile)
    function = image.functions[0]
    layout = Layout((_BASE, *targets.values()), layout.symbols)
    code = place(image, layout)[0]
    starts = function.offsets
    native = [code[starts[k] : starts[k + 1]].hex() for k, insn in enumerate(insns) if insn.code]
    return (
        code[: function.prologue].hex(),
        native,
        function.passes,
        len(code),
        _sp_adjust(verified, image.functions[0]),
    )


def _sp_adjust(verified: Verified, function: Any) -> int:
    """What the kernel remembers for unwinding an exception: the outgoing area of a boundary."""
    return int(function.frame.outgoing_size) if verified.subprogs[0].is_exception_boundary else 0


def test_functions() -> None:
    different = []
    for record in records("x86/functions.jsonl.gz"):
        want = tuple(record[key] for key in ("prologue", "native", "passes", "length", "stack_arg_sp_adjust"))
        got = _listing(record)
        if got != want:
            different.append((record["name"], got, want))
    assert not different, different[:5]
