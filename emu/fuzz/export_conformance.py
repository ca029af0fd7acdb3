"""A program as a test of the bpf_conformance suite: `-- asm`, `-- raw`, `-- result`.

The suite runs bare instructions: memory in r1, no maps, no helpers, no BTF, at most five arguments. Where a program keeps to
that and to itself, its result is a test of any runtime. Knows the suite's assembler by its mnemonics; `-- raw` is what it runs.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from bpf import isa
from bpf.asm import Expectation
from bpf.codec import encode
from bpf.errors import InputError
from bpf.opcodes import form_of
from bpf.program import Program, Request
from emu.fuzz.finding import Finding
from emu.fuzz.reduce.draft import Draft, Item, is_conditional
from emu.fuzz.reduce.flow import entry_reads
from emu.interp import Interpreter
from emu.runtime.world import World

BUDGET: Final = 1_000_000

_ALU: Final = {
    isa.ADD: "add",
    isa.SUB: "sub",
    isa.MUL: "mul",
    isa.DIV: "div",
    isa.OR: "or",
    isa.AND: "and",
    isa.LSH: "lsh",
    isa.RSH: "rsh",
    isa.MOD: "mod",
    isa.XOR: "xor",
    isa.MOV: "mov",
    isa.ARSH: "arsh",
}
_JUMPS: Final = {
    isa.JEQ: "jeq",
    isa.JGT: "jgt",
    isa.JGE: "jge",
    isa.JSET: "jset",
    isa.JNE: "jne",
    isa.JSGT: "jsgt",
    isa.JSGE: "jsge",
    isa.JLT: "jlt",
    isa.JLE: "jle",
    isa.JSLT: "jslt",
    isa.JSLE: "jsle",
}
_SIZES: Final = {isa.B: "b", isa.H: "h", isa.W: "w", isa.DW: "dw"}
_ATOMICS: Final = {isa.ADD: "add", isa.OR: "or", isa.AND: "and", isa.XOR: "xor"}


def files(
    request: Request,
    others: Mapping[str, Program],
    finding: Finding | None,
    expectation: Expectation | None,
    stem: str,
) -> dict[str, str]:
    """One `.data` file. Raises InputError that says what the suite has no way to say."""
    program = request.program
    draft = Draft.of(program)
    why = _unfit(draft, others, expectation)
    if why:
        raise InputError(program.name, "", f"is no test of bpf_conformance: {why}")
    result = _result(request)
    lines = [f"# {stem}"]
    if finding is not None:
        lines.append(f"# {finding.oracle}: {finding.kind}".replace("--", "- -"))
    lines += _asm(draft)
    lines.append("-- raw")
    data = encode(program.insns)
    lines += [f"0x{int.from_bytes(data[at : at + 8], 'little'):016x}" for at in range(0, len(data), 8)]
    lines += ["-- result", f"{result:#x}"]
    return {f"{stem}.data": "\n".join(lines) + "\n"}


def _unfit(draft: Draft, others: Mapping[str, Program], expectation: Expectation | None) -> str:
    """Why the suite cannot hold the program, "" when it can."""
    program = draft.program
    if set(others) - {program.name}:
        return "it has other programs"
    if expectation is not None and not expectation.accepted:
        return "it is a program that a verifier has to refuse, and the suite knows no verifier"
    for item in draft.items:
        why = _foreign(item)
        if why:
            return why
    if program.maps:
        return "it has maps"
    if entry_reads(draft)[0] >> 1 & 1:
        return "it reads its context"
    return ""


def _foreign(item: Item) -> str:
    insn = item.insn
    if isa.REG_PARAMS in (insn.dst, insn.src) and insn.code != isa.OP_CALL:
        return "it has stack arguments, which need BTF"
    if item.kfunc is not None or (insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_KFUNC_CALL):
        return "it calls a kfunc, which needs BTF"
    if insn.code == isa.OP_CALL and insn.src == isa.HELPER_CALL:
        return "it calls a helper"
    if insn.code == isa.LD_IMM64 and insn.src:
        return "it refers to a map, a function or a kernel variable"
    if insn.cls == isa.LD and insn.code != isa.LD_IMM64:
        return "it loads from a packet"
    form = form_of(insn)
    if form is None or form.group in ("linux", "callx"):
        return "it has an instruction that is Linux's alone"
    return ""


def _result(request: Request) -> int:
    """r0, all 64 bits, of a run without input. Raises InputError where there is none."""
    world = World(request.program)
    run = Interpreter(world, budget=BUDGET).run(request.runs[0])
    if run.trap is not None or run.errno != "OK":
        reason = run.trap.message if run.trap is not None else run.errno
        raise InputError(
            request.program.name, "", f"is no test of bpf_conformance: it has no result ({reason})"
        )
    return run.r0


# ---------------------------------------------------------------- the suite's assembler


def _asm(draft: Draft) -> list[str]:
    """The section for people; nothing where an instruction has no mnemonic there."""
    targets = sorted({draft.find(item.target) for item in draft.items if item.target is not None})
    names = {at: f"l{number}" for number, at in enumerate(targets)}
    lines = ["-- asm"]
    for index, item in enumerate(draft.items):
        if index in names:
            lines.append(f"{names[index]}:")
        label = "" if item.target is None else names.get(draft.find(item.target), "")
        text = next(_mnemonics(item, label), None)
        if text is None:
            return []
        lines.append(text)
    return lines


def _mnemonics(item: Item, label: str) -> Iterator[str]:
    """The one way to write an instruction, if there is one."""
    insn = item.insn
    dst, src = f"%r{insn.dst}", f"%r{insn.src}"
    second = src if insn.code & isa.X else str(insn.imm)
    narrow = "32" if insn.cls in (isa.ALU, isa.JMP32) else ""
    size = _SIZES[insn.code & isa.SIZE_MASK]
    at = f"[%r{insn.src if insn.cls == isa.LDX else insn.dst}{insn.off:+d}]"
    if insn.cls in (isa.ALU, isa.ALU64):
        if insn.op == isa.NEG:
            yield f"neg{narrow} {dst}"
        elif insn.op == isa.END:
            kind = "swap" if insn.cls == isa.ALU64 else "be" if insn.code & isa.X else "le"
            yield f"{kind}{insn.imm} {dst}"
        elif insn.off == 0:
            yield f"{_ALU[insn.op]}{narrow} {dst}, {second}"
    elif is_conditional(insn) and label:
        yield f"{_JUMPS[insn.op]}{narrow} {dst}, {second}, {label}"
    elif insn.code == isa.OP_JA and label:
        yield f"ja {label}"
    elif insn.code == isa.OP_EXIT:
        yield "exit"
    elif item.calls_function and label:
        yield f"call local {label}"
    elif insn.code == isa.LD_IMM64 and item.wide:
        yield f"lddw {dst}, {(insn.imm & isa.U32) | (item.high & isa.U32) << 32:#x}"
    elif insn.mode == isa.MEM and insn.cls in (isa.LDX, isa.ST, isa.STX):
        yield {
            isa.LDX: f"ldx{size} {dst}, {at}",
            isa.ST: f"st{size} {at}, {insn.imm}",
            isa.STX: f"stx{size} {at}, {src}",
        }[insn.cls]
    elif insn.mode == isa.ATOMIC and insn.cls == isa.STX:
        yield from _atomic(item, at, src)


def _atomic(item: Item, at: str, src: str) -> Iterator[str]:
    insn = item.insn
    narrow = "" if insn.code & isa.SIZE_MASK == isa.DW else "32"
    if insn.imm in _ATOMICS:
        yield f"lock {_ATOMICS[insn.imm]}{narrow} {at}, {src}"
    elif insn.imm & ~isa.FETCH in _ATOMICS:
        yield f"lock fetch {_ATOMICS[insn.imm & ~isa.FETCH]}{narrow} {at}, {src}"
    elif insn.imm in (isa.XCHG, isa.CMPXCHG):
        yield f"lock {'xchg' if insn.imm == isa.XCHG else 'cmpxchg'}{narrow} {at}, {src}"
