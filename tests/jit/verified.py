"""`Verified` values made by hand, from vectors and recordings, for the tests of the JIT."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bpf import isa
from bpf.codec import decode
from bpf.insn import Insn
from bpf.maps import MapSpec
from bpf.program import KfuncRef, Program
from bpf.verified import Subprog, Verified
from jit.profile import Profile

FIXTURES = Path(__file__).parents[2] / "fixtures" / "golden"


def records(path: str) -> Iterator[dict[str, Any]]:
    with gzip.open(FIXTURES / path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def single(insns: tuple[Insn, ...], sub: Subprog, **extra: Any) -> Verified:
    """One function, `sub` with its end corrected."""
    program = Program("t", insns)
    return Verified(program, insns, tuple(range(len(insns))), (sub,), **extra)


def function(insns: tuple[Insn, ...], **options: Any) -> Verified:
    """A program of one function with these options of `Subprog`."""
    options.setdefault("kind", "main")
    return single(insns, Subprog("f", 0, len(insns), **options))


HARNESS = {"bmi2": False, "ibt": False, "sls": False}  # what the vectors take when they say nothing


def from_options(insns: tuple[Insn, ...], options: dict[str, int]) -> tuple[Verified, Profile]:
    """Verified and profile of a vector of fixtures/golden/x86."""
    profile = Profile(
        "vector",
        bmi2=bool(options.get("bmi2")),
        ibt=bool(options.get("ibt")),
        sls=bool(options.get("sls")),
        return_thunk="__x86_return_thunk" if options.get("rethunk") else "",
        indirect="retpoline" if options.get("retp") else "plain",
        percpu_far=True,
        max_entries_off=0x10,
        ptrs_off=0x100,
        bpf_func_off=0x20,
    )
    symbols: dict[int, str] = {}
    for slot, insn in enumerate(insns):
        if insn.code == isa.OP_CALL:
            symbols[slot] = f"call+{insn.imm:#x}"
    sub = Subprog(
        "f",
        0,
        len(insns),
        "static" if options.get("sub") else "main",
        stack_depth=options.get("depth", 0),
        in_stack_args=7 if options.get("sub") else 0,
        out_stack_args=options.get("out", 0),
        tail_call_reachable=bool(options.get("tcr")),
        is_exception_cb=bool(options.get("excb")),
        is_exception_boundary=bool(options.get("exb")),
        private_stack=bool(options.get("priv")),
        arena_user=options.get("user"),
    )
    if sub.private_stack:
        sub = Subprog("f", 0, len(insns), "main", stack_depth=options["depth"], private_stack=True)
    return single(insns, sub, symbols=symbols), profile


__all__ = ["Insn", "KfuncRef", "MapSpec", "decode", "from_options", "function", "records", "single"]
