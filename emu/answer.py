"""Verdicts, images and outcomes as JSON: the result objects of docs/formats.md.

Only renders; decides nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TypeAlias

from bpf import codec
from bpf.errors import BpfemuError, InputError
from bpf.verified import Rejected, Verified
from emu.outcome import CallRecord, Entry, Outcome, RunResult, Trap, Violation
from emu.pipeline import Case
from jit.image import Image, Layout

JsonObject: TypeAlias = dict[str, object]


def verify_json(verdict: Verified | Rejected, *, log: bool = False) -> JsonObject:
    """The `verify` object."""
    out: JsonObject = {
        "accepted": isinstance(verdict, Verified),
        "errno": "OK" if isinstance(verdict, Verified) else verdict.errno,
        "message": None if isinstance(verdict, Verified) else verdict.message,
        "messages": [] if isinstance(verdict, Verified) else list(verdict.messages),
        "verified_insns": verdict.verified_insns,
        "subprogs": [],
        "stats": dict(verdict.stats),
    }
    if isinstance(verdict, Verified):
        out["subprogs"] = [
            {
                "name": sub.name,
                "kind": sub.kind,
                "insns_self": sub.insns_self,
                "insns_total": sub.insns_total,
                "stack": sub.stack_depth,
                "in_stack_args": sub.in_stack_args,
                "out_stack_args": sub.out_stack_args,
            }
            for sub in verdict.subprogs
        ]
        out["xlated"] = codec.encode(verdict.insns).hex()
        out["abstract_interpretation"] = verdict.pruned
    if log:
        out["log"] = verdict.log
    return out


def error_json(error: BpfemuError) -> JsonObject:
    """The `error` object: whose fault, and one line."""
    return {"kind": "input" if isinstance(error, InputError) else "internal", "message": str(error)}


def case_json(case: Case, *, log: bool = False) -> JsonObject:
    """All stages of a case that were reached, and their comparison."""
    out: JsonObject = {
        "name": case.request.program.name,
        "error": None if case.error is None else error_json(case.error),
    }
    if case.verdict is not None:
        out["verify"] = verify_json(case.verdict, log=log)
    for outcome in (case.interp, case.sandbox):
        if outcome is not None:
            out[outcome.engine] = outcome_json(outcome)
    if case.interp is not None and case.sandbox is not None:
        out["agrees"] = case.difference is None
        if case.precise is not None:
            found = [violation for run in case.precise.runs for violation in run.violations]
            out["precise"] = [_violation_json(violation) for violation in found]
        out["difference"] = None if case.difference is None else asdict(case.difference)
    return out


def jit_json(image: Image, layout: Layout, codes: Sequence[bytes]) -> JsonObject:
    """The `jit` object: `codes` are the placed bytes of each function, in the order of the image."""
    jited: list[JsonObject] = []
    for index, (function, code) in enumerate(zip(image.functions, codes, strict=True)):
        base = layout.functions[index]
        calls: list[JsonObject] = []
        ptrs: list[JsonObject] = []
        for reloc in function.relocs:
            if reloc.kind in ("call", "jump"):
                target = f"func#{reloc.target}" if reloc.target >= 0 else reloc.symbol
                addr = layout.functions[reloc.target] if reloc.target >= 0 else layout.symbols[reloc.symbol]
                op = "e8" if reloc.kind == "call" else "e9"
                calls.append({"off": reloc.off - 1, "op": op, "target": target, "addr": hex(addr)})
            else:
                value = int.from_bytes(code[reloc.off : reloc.off + reloc.size], "little")
                if reloc.size == 4:  # stored sign-extended
                    value |= 0xFFFF_FFFF_0000_0000 if value >> 31 else 0
                ptrs.append({"off": reloc.off, "size": reloc.size, "kind": reloc.kind, "value": hex(value)})
        jited.append(
            {
                "name": function.name,
                "addr": hex(base),
                "len": len(code),
                "hex": code.hex(),
                "calls": calls,
                "ptrs": ptrs,
            }
        )
    return {"jited": jited}


def outcome_json(outcome: Outcome) -> JsonObject:
    """The `interp` or `sandbox` object. The keys of a run stand at the top for the last run, and in `runs` for each."""
    runs = [_run_json(run, sandbox=outcome.engine == "sandbox") for run in outcome.runs]
    out: JsonObject = dict(runs[-1]) if runs else {}
    out["map_dumps"] = list(outcome.dumps)
    if len(runs) > 1:
        out["runs"] = runs
    return out


def _run_json(run: RunResult, *, sandbox: bool) -> JsonObject:
    out: JsonObject = {
        "run_errno": run.errno,
        "retval": run.retval,
        "r0": hex(run.r0),
        "data_out": None if run.data_out is None else run.data_out.hex(),
        "ctx_out": None if run.ctx_out is None else run.ctx_out.hex(),
        "trap": None if run.trap is None else _trap_json(run.trap),
        "calls": [_call_json(call) for call in run.calls],
        "entries": [_entry_json(entry) for entry in run.entries],
        "insns": run.insns,
    }
    if sandbox:
        out["violations"] = [_violation_json(violation) for violation in run.violations]
    return out


def _trap_json(trap: Trap) -> JsonObject:
    out: JsonObject = {"kind": trap.kind, "insn": trap.insn, "message": trap.message}
    if trap.native is not None:
        out |= {"native": hex(trap.native), "asm": trap.asm}
    return out


def _call_json(call: CallRecord) -> JsonObject:
    return {
        "insn": call.insn,
        "callee": call.callee,
        "args": [hex(arg) for arg in call.args],
        "ret": hex(call.ret),
    }


def _entry_json(entry: Entry) -> JsonObject:
    return {
        "insn": entry.insn,
        "function": entry.function,
        "args": [None if arg is None else hex(arg) for arg in entry.args],
        "ret": None if entry.ret is None else hex(entry.ret),
    }


def _violation_json(violation: Violation) -> JsonObject:
    return {
        "check": violation.check,
        "insn": violation.insn,
        "func": violation.func,
        "native": None if violation.native is None else hex(violation.native),
        "expected": hex(violation.expected),
        "found": hex(violation.found),
        "message": violation.message,
    }
