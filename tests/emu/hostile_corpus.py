"""The hostile corpus: text to cases. Addresses that a snippet may name are given by the machine."""

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from bpf import isa
from bpf.asm import parse
from bpf.program import Program
from bpf.verified import Subprog, Verified
from emu.sandbox import Machine, addresses
from emu.sandbox.entry import assemble

FOLDER = Path(__file__).parents[2] / "fixtures" / "hostile"
_HEAD = re.compile(r"^([\w-]+): (trap|violation|result) (\S+)(?: at (\d+))?(?: stack (\d+))?$")


@dataclass(frozen=True)
class Hostile:
    """A program and how its run must end: kind is "trap", "violation" or "result"."""

    name: str
    kind: str
    want: str
    lines: tuple[str, ...]
    insn: int | None = None
    stack: int = 16

    @property
    def seconds(self) -> float:
        """How long its run may take: what ends by itself has time to, on a slow machine and under a debugger, too."""
        return 0.05 if self.want == "budget" else 20.0

    def native(self, machine: Machine) -> bytes:
        text = " ".join(line if line.endswith(":") else f"{line};" for line in self.lines)
        return assemble(text.rstrip("; ").format_map(places(machine)), addresses.IMAGE)

    def verified(self) -> Verified:
        return unverified(parse("\n".join(self.lines), self.name).program, self.stack)


def places(machine: Machine) -> dict[str, str]:
    found = {
        "CONTROL": addresses.CONTROL,
        "STACK": addresses.STACK,
        "STACK_TOP": addresses.STACK + addresses.STACK_SIZE,
        "STACK_ALIAS": addresses.STACK & (1 << 52) - 1,
        "TEXT": addresses.TEXT,
        "END": addresses.END,
        "IMAGE_END": addresses.IMAGE + addresses.IMAGE_SIZE,
        "ask": machine.ask,
        "ktime": machine.symbol("bpf_ktime_get_ns"),
        "lookup": machine.symbol("bpf_map_lookup_elem"),
        "sum12": machine.symbol("okf_sum12"),
        "nobody": machine.symbol("no_such_function"),
        "last_stub": addresses.STUBS + (addresses.STUB_COUNT - 1) * addresses.STUB_SIZE,
    }
    return {name: hex(value) for name, value in found.items()}


def load(file: str) -> list[Hostile]:
    cases: list[Hostile] = []
    head: re.Match[str] | None = None
    body: list[str] = []

    def close() -> None:
        if head is not None:
            insn = None if head[4] is None else int(head[4])
            cases.append(Hostile(head[1], head[2], head[3], tuple(body), insn, int(head[5] or 16)))

    for number, line in enumerate((FOLDER / file).read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" "):
            body.append(line.strip())
            continue
        close()
        head, body = _HEAD.match(line), []
        assert head is not None, f"{file}: line {number}: {line}"
    close()
    return cases


def unverified(program: Program, stack: int = 16) -> Verified:
    """A program that no verifier saw: functions where calls and func pointers go, no rewriting."""
    insns = list(program.insns)
    starts = {0}
    for at, insn in enumerate(insns):
        calls = insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL
        if calls or (insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_FUNC):
            starts.add(at + 1 + insn.imm)
    for number, ref in enumerate(program.kfuncs):
        insns[ref.insn] = replace(insns[ref.insn], imm=number)
    bounds = [*sorted(starts), len(insns)]
    subs = []
    for number, (start, end) in enumerate(pairwise(bounds)):
        body = insns[start:end]
        stores = [isa.store_slot(i.off) + 1 for i in body if isa.is_stack_arg_store(i.code, i.dst, i.off)]
        loads = [isa.load_slot(i.off) + 1 for i in body if isa.is_stack_arg_load(i.code, i.src, i.off)]
        subs.append(
            Subprog(
                "main" if number == 0 else f"f{number}",
                start,
                end,
                "static" if number else "main",
                stack_depth=stack,
                in_stack_args=max(loads, default=0),
                out_stack_args=max(stores, default=0),
            )
        )
    return Verified(program, tuple(insns), tuple(range(len(insns))), tuple(subs), kfuncs=program.kfuncs)
