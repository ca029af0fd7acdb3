"""A trace as JSON: what `bpfemu trace --json` prints and the page is made from. docs/formats.md describes it.

Addresses and values are hex text, because JSON numbers of 64 bits do not survive everywhere. What is empty in a step is left out.
"""

from collections.abc import Mapping
from typing import Any

from emu.trace.trace import Argument, Call, Finding, Function, Program, Step, Trace

JsonObject = dict[str, Any]


def trace_json(trace: Trace) -> JsonObject:
    """The whole trace."""
    return {
        "name": trace.name,
        "file": trace.file,
        "profile": trace.profile,
        "mutant": trace.mutant or None,
        "verdict": trace.verdict,
        "difference": trace.difference or None,
        "stop": trace.stop,
        "cut": trace.cut or None,
        "runs": [{"first": run.first, "interp": run.ends[0], "sandbox": run.ends[1]} for run in trace.runs],
        "findings": [_finding(one) for one in trace.findings],
        "calls": [_call(call) for call in trace.calls],
        "after": None if trace.after is None else _call(trace.after),
        "programs": [_program(program) for program in trace.programs],
        "functions": [_function(function) for function in trace.functions],
        "activations": [
            {
                "function": one.function,
                "cfa": hex(one.cfa),
                "frame": one.frame,
                "insn": one.insn,
                "by": one.by,
            }
            for one in trace.activations
        ],
        "shapes": [
            [[row.off, row.size, row.kind, row.what, row.note] for row in rows] for rows in trace.shapes
        ],
        "names": {hex(value): name for value, name in trace.names.items()},
        "stacks": {"top": hex(trace.stacks[0]), "spacing": trace.stacks[1]},
        "steps": [_step(trace, step) for step in trace.steps],
    }


def _finding(one: Finding) -> JsonObject:
    return {
        "step": one.step,
        "seen": one.seen,
        "kind": one.kind,
        "text": one.text,
        "insn": one.insn,
        "native": None if one.native is None else hex(one.native),
        "argument": one.argument,
    }


def _call(call: Call) -> JsonObject:
    return {
        "step": call.step,
        "run": call.run,
        "insn": call.insn,
        "callee": call.callee,
        "kind": call.kind,
        "ret": {"interp": call.shown[0], "sandbox": call.shown[1]},
        "differs": call.differs,
        "args": [_argument(argument) for argument in call.args],
    }


def _argument(one: Argument) -> JsonObject:
    return {
        "arg": one.number,
        "param": one.param,
        "put": one.put,
        "put_native": one.put_native,
        "found": one.found,
        "interp": one.shown[0],
        "sandbox": one.shown[1],
        "differs": one.differs,
    }


def _program(program: Program) -> JsonObject:
    return {
        "name": program.name,
        "insns": [[one.number, one.text, one.source] for one in program.insns],
        "sources": [[one.file, one.line, one.text] for one in program.sources],
        "functions": [list(pair) for pair in program.starts],
    }


def _function(function: Function) -> JsonObject:
    return {
        "program": function.program,
        "name": function.name,
        "addr": hex(function.addr),
        "start": function.start,
        "prologue": function.prologue,
        "params": list(function.params),
        "registers": list(function.registers),
        "natives": [[one.off, one.code.hex(), one.text, one.insn] for one in function.natives],
    }


def _step(trace: Trace, step: Step) -> JsonObject:
    off = None
    if step.addr is not None:
        off = step.addr - (trace.functions[step.function].addr if step.function >= 0 else 0)
    out: JsonObject = {"fn": step.function, "off": off, "insn": step.insn}
    if step.begins:
        out["begins"] = True
    if step.frames is not None:
        out["frames"] = [list(pair) for pair in step.frames]
    changes = {
        "regs": _hexed(step.regs),
        "words": _hexed({hex(addr): value for addr, value in step.words.items()}),
        "bpf": _hexed(step.bpf),
        "slots": _hexed({f"{frame}{off:+d}": value for (frame, off), value in step.slots.items()}),
    }
    out |= {key: value for key, value in changes.items() if value}
    if step.marks:
        out["marks"] = list(step.marks)
    return out


def _hexed(values: Mapping[str, int | None]) -> dict[str, str | None]:
    return {name: None if value is None else hex(value) for name, value in values.items()}
