"""Code that the recordings of fixtures/golden do not show, against what a real 7.3.4 kernel made of it.

Indirect tail calls, gotox, private stacks, fault-tolerant loads, mitigations, and chains of jumps that need so many
passes that padding sets in. These recordings name no addresses: each symbol, map and helper gets its address from the
first field that refers to it, and must have the same address in every other.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bpf import isa
from bpf.codec import decode
from bpf.insn import Insn
from bpf.maps import MapSpec
from bpf.program import Program
from bpf.verified import Subprog, Verified
from jit import PRESETS, Profile, compile_program, memory, place
from tests.jit.addresses import solve

_PATH = Path(__file__).parents[2] / "fixtures" / "jit" / "rare.jsonl.gz"
RECORDS = [json.loads(line) for line in gzip.decompress(_PATH.read_bytes()).splitlines()]
_PROFILES = {**PRESETS, "7.3-retp": Profile("7.3-retp", indirect="retpoline")}

# The kernel shows fault-tolerant loads as ordinary ones, but for those that extend the sign.
_PROBING = {isa.MEM: memory.PROBE_MEM}


def _verified(record: dict[str, Any]) -> Verified:
    insns = list(decode(bytes.fromhex(record["xlated"])))
    starts = [0]
    symbols: dict[int, str] = {}
    ids: dict[int, int] = {}
    for slot, insn in enumerate(insns):
        if insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL:
            starts.append(slot + 1 + insn.off)
            insns[slot] = Insn(insn.code, 0, insn.src, 0, insn.off)
        elif insn.code == isa.OP_CALL and insn.src == isa.HELPER_CALL and insn.imm == 12:
            insns[slot] = Insn(isa.OP_TAIL_CALL)
        elif insn.cls == isa.LDX and record["name"].startswith("probe"):
            insns[slot] = Insn(
                _PROBING.get(insn.mode, insn.mode) | insn.code & ~isa.MODE_MASK, insn.dst, insn.src, insn.off
            )
        elif insn.code == isa.OP_CALL:
            symbols[slot] = f"helper {insn.imm:#x}"
        elif insn.code == isa.LD_IMM64 and insn.src in (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_VALUE):
            index = ids.setdefault(insn.imm, len(ids))
            insns[slot] = Insn(insn.code, insn.dst, insn.src, 0, index)
    ends = [*starts[1:], len(insns)]
    subs = tuple(
        Subprog(
            f"f{number}",
            start,
            end,
            "static" if number else "main",
            stack_depth=record["depths"][number],
            private_stack=record["private"],
            tail_call_reachable=record["tail"],
        )
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    )
    maps = tuple(MapSpec(f"m{index}", 2, 4, 8, 1) for index in ids.values())
    code = tuple(insns)
    origin = tuple(range(len(code)))
    targets = frozenset(record["targets"])
    return Verified(
        Program("rare", code, maps=maps), code, origin, subs, symbols=symbols, indirect_targets=targets
    )


@pytest.mark.parametrize("record", RECORDS, ids=[record["name"] for record in RECORDS])
def test_rare_code_is_the_kernels(record: dict[str, Any]) -> None:
    verified = _verified(record)
    want = [function["hex"] for function in record["jited"]]
    image = compile_program(verified, _PROFILES[record["profile"]])
    assert [len(function.code) for function in image.functions] == [len(code) // 2 for code in want]
    functions = tuple(int(function["addr"], 0) for function in record["jited"])
    layout = solve(image, [bytes.fromhex(code) for code in want], functions)
    assert [code.hex() for code in place(image, layout)] == want


def test_some_chains_of_jumps_are_padded() -> None:
    """Without this the fixture would not test padding at all."""
    passes = {}
    for record in RECORDS:
        if record["name"].startswith("chain"):
            image = compile_program(_verified(record))
            passes[record["name"]] = max(function.passes for function in image.functions)
    assert max(passes.values()) > 15
    assert min(passes.values()) < 10
