"""What is being reduced: a request and the programs that its tail calls reach, and how large all of it is.

`weigh` orders states: whatever makes its result smaller is a step forward, so reduction ends. The order is that of a reader:
instructions first, then functions, parameters and maps, then how hard the instructions are, then inputs, then numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from bpf import isa
from bpf.insn import Insn
from bpf.maps import MapSpec
from bpf.program import Program, Request, RunInput
from bpf.proto import CType
from emu.fuzz.reduce.draft import Draft, Item, is_conditional

MAIN = ""


@dataclass(frozen=True, slots=True)
class State:
    """drafts: the main program under `MAIN`, the others by name. selfish: the others held the main program, too."""

    request: Request
    drafts: Mapping[str, Draft]
    selfish: bool = False

    @classmethod
    def of(cls, request: Request, others: Mapping[str, Program]) -> Self:
        """Takes all programs apart."""
        name = request.program.name
        drafts = {MAIN: Draft.of(request.program)}
        drafts |= {key: Draft.of(one) for key, one in others.items() if key != name}
        return cls(request, drafts, name in others)

    @property
    def main(self) -> Draft:
        """The program that is run."""
        return self.drafts[MAIN]

    def with_draft(self, name: str, draft: Draft) -> Self:
        """With another version of one program."""
        return replace(self, drafts={**self.drafts, name: draft})

    def with_program(self, **fields: object) -> Self:
        """With other fields of the main program, its instructions as they are."""
        program = replace(self.main.program, **fields)  # type: ignore[arg-type] # names and types are the caller's
        return self.with_draft(MAIN, replace(self.main, program=program))

    def made(self) -> tuple[Request, dict[str, Program]] | None:
        """Request and others; None where a program cannot be put together."""
        programs = {}
        for name, draft in self.drafts.items():
            program = draft.program_or_none()
            if program is None:
                return None
            programs[name] = program
        main = programs.pop(MAIN)
        if self.selfish:
            programs[main.name] = main
        return replace(self.request, program=main), programs

    @property
    def count(self) -> int:
        """Instructions of all programs."""
        return sum(draft.count for draft in self.drafts.values())


def weigh(state: State) -> tuple[int, ...]:
    """The size of a state; smaller is simpler."""
    drafts = state.drafts.values()
    main = state.main.program
    items = [item for draft in drafts for item in draft.items]
    functions = [function for draft in drafts for function in draft.functions]
    maps = [spec for draft in drafts for spec in draft.program.maps]
    runs = state.request.runs
    return (
        len(items),
        len(state.drafts),
        sum(not draft.plain for draft in drafts),
        sum(len(function.proto.params) for function in functions),
        len(functions),
        len(maps),
        sum(_difficulty(item) for item in items),
        len(runs),
        sum(_input_size(run) for run in runs),
        sum(_map_size(spec) for spec in maps),
        _oddities(main),
        sum(_type_size(p.type) for f in functions for p in f.proto.params) + sum(_type_size(f.proto.ret) for f in functions),
        sum(_number(item) for item in items),
        sum(_registers(item.insn) for item in items),
        sum(abs(item.insn.off) for item in items),
        sum(len(draft.lines) for draft in drafts),
    )  # fmt: skip


def _registers(insn: Insn) -> int:
    if insn.code == isa.OP_CALL:
        return 0
    return insn.dst + (insn.src if insn.code != isa.LD_IMM64 else 0)


def _difficulty(item: Item) -> int:
    """How hard an instruction is to read; what stands for another must be easier."""
    insn = item.insn
    if insn.code == isa.OP_CALL:
        return 90 + 10 * insn.src + (len(item.kfunc[0]) + _digits(item.kfunc[0]) if item.kfunc else 0)
    if insn.cls in (isa.ALU, isa.ALU64):
        return _alu_difficulty(insn)
    if is_conditional(insn):
        return 40 + (5 if insn.code & isa.X else 0) + (1 if insn.cls == isa.JMP32 else 0)
    if insn.cls in (isa.JMP, isa.JMP32):
        return 50 if insn.code == isa.OP_MAY_GOTO else 1
    if insn.code == isa.LD_IMM64:
        return 10
    return _memory_difficulty(insn)


def _alu_difficulty(insn: Insn) -> int:
    register = 3 if insn.code & isa.X else 0
    narrow = 1 if insn.cls == isa.ALU else 0
    if insn.op == isa.MOV:
        return register + narrow + (2 if insn.off else 0)
    return (8 if insn.op == isa.ADD else 12) + register + narrow + (2 if insn.off else 0)


def _memory_difficulty(insn: Insn) -> int:
    size = 8 - isa.SIZE_BYTES[insn.code & isa.SIZE_MASK]
    if insn.cls == isa.ST:
        return 20 + size
    if insn.mode == isa.MEM:
        return (23 if insn.cls == isa.STX else 26) + size
    return 45 + size


def _digits(text: str) -> int:
    """The number at the end of a name, so that a relative with fewer parameters is the easier one."""
    tail = text[len(text.rstrip("0123456789")) :]
    return int(tail) if tail else 0


def _number(item: Item) -> int:
    """How long the numbers of an instruction are."""
    insn = item.insn
    if insn.code == isa.OP_CALL or (insn.code == isa.LD_IMM64 and insn.src):
        return 0
    if insn.code == isa.LD_IMM64:
        return _length(isa.sext((insn.imm & isa.U32) | (item.high & isa.U32) << 32, 64))
    return _length(insn.imm)


def _length(value: int) -> int:
    """0 is nothing; then the magnitude counts, then ones in it, then a sign."""
    if not value:
        return 0
    size = abs(value)
    return 1000 * size.bit_length() + min(size, 900) + (50 if value < 0 else 0) + size.bit_count()


def _input_size(run: RunInput) -> int:
    size = 0
    for data in (run.data_in, run.ctx_in):
        if data is not None:
            size += 1 + 2 * len(data) + sum(map(int.bit_length, data))
    plain = RunInput()
    names = ("repeat", "flags", "data_out_size", "ctx_out_size")
    return size + 10 * len([name for name in names if getattr(run, name) != getattr(plain, name)])


def _map_size(spec: MapSpec) -> int:
    elements = sum(2 + len(key + value) + sum(map(int.bit_length, key + value)) for key, value in spec.elems)
    odd = sum(map(bool, (spec.flags, spec.extra, spec.freeze, spec.dump, spec.btf_key, spec.btf_value)))
    sizes = spec.key_size + spec.value_size + min(spec.max_entries, 1 << 20)
    return 4 * sizes + elements + 16 * odd + len(spec.progs) + len(spec.inner_maps)


def _oddities(program: Program) -> int:
    """What the line `prog` has to say."""
    fields = (
        program.section,
        program.prog_flags,
        program.expected_attach_type,
        program.attach_btf_id,
        program.attach_to,
    )
    odd = [bool(field) for field in fields] + [program.prog_type != "sched_cls", program.license != "GPL"]
    return sum(odd)


def _type_size(type_: CType) -> int:
    if type_.kind == "ptr":
        return 4 + (_type_size(type_.to) if type_.to is not None else 0)
    if type_.kind in ("int", "void"):
        return (type_.name not in ("u64", "void")) + (1 if type_.const else 0)
    return 3 + len(type_.name)
