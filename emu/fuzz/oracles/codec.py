"""Bytes, text in three styles, `.bpf` files and JSON requests hold the same program."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from bpf import exceptions, isa
from bpf.asm import assemble, parse
from bpf.btf_plain import lock_of
from bpf.codec import decode, encode
from bpf.disasm import disasm, log_text
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.listing import disassemble
from bpf.opcodes import form_of
from bpf.program import Program, Request
from bpf.request import parse_request, to_request
from emu.fuzz.finding import Finding
from emu.fuzz.oracles.exam import Exam


def judge(exam: Exam) -> Iterator[Finding]:
    """Bytes always; in thorough cases instructions one by one, the text of the whole program and its JSON."""
    program = exam.request.program
    if decode(encode(program.insns)) != program.insns:
        yield Finding("codec", "bytes", "the encoded program decodes to another one")
    if not exam.thorough:
        return
    second = False
    for at, insn in enumerate(program.insns):
        if second:
            second = False
            continue
        second = insn.code == isa.LD_IMM64 and at + 1 < len(program.insns)
        wrong = _misread(insn, program.insns[at + 1] if second else None)
        if wrong:
            yield Finding("codec", wrong[0], wrong[1], at)
    yield from _whole(exam.request)


@lru_cache(maxsize=1 << 15)
def _misread(insn: Insn, nxt: Insn | None) -> tuple[str, str] | None:
    """A style in which one instruction reads as another one: (kind, message)."""
    if not _has_text(insn, nxt):
        return None
    slots = (insn,) if nxt is None else (insn, nxt)
    texts = {"text": disasm(insn, nxt, style="text")}
    kernel = log_text(insn, nxt)
    if not _kernel_says_less(insn) and not kernel.startswith("BUG_"):
        texts["kernel"] = kernel
    if not _llvm_says_less(insn):
        texts["llvm"] = disasm(insn, nxt, style="llvm")
    for style, text in texts.items():
        try:
            read = assemble(text)
        except InputError as error:
            return f"{style} unread", f"{text}: {error}"
        if read != slots:
            return style, f"{text} is read as {encode(read).hex()}, not as {encode(slots).hex()}"
    return None


def _has_text(insn: Insn, nxt: Insn | None) -> bool:
    """Malformed instructions have no text of their own; nor has an exit with an offset, which a kernel does not look at."""
    if (insn.code == isa.OP_EXIT and insn.off) or (insn.code == isa.LD_IMM64 and nxt is None):
        return False
    return form_of(insn, nxt) is not None


def _kernel_says_less(insn: Insn) -> bool:
    """The log does not say what kind of reference a wide load holds, which kfunc has no number, nor what register callx names."""
    if insn.code == isa.OP_CALL:
        return insn.src == isa.PSEUDO_KFUNC_CALL
    return insn.code == isa.OP_CALLX or (insn.code == isa.LD_IMM64 and insn.src != 0)


def _llvm_says_less(insn: Insn) -> bool:
    """LLVM shows a call by its number only, whatever it calls."""
    return insn.code == isa.OP_CALL


def _whole(request: Request) -> Iterator[Finding]:
    try:
        text = disassemble(request.program, request.runs)
    except InputError:  # a name that no text can hold
        text = ""
    if text:
        yield from _read_back(request, text)
    again = parse_request(json.loads(json.dumps(to_request(request))))
    if _unnumbered(again) != _unnumbered(request):
        yield Finding("codec", "json", "the JSON request holds another one")


def _unnumbered(request: Request) -> Request:
    """Without what JSON does not hold: the section, what other programs and maps a map holds, a kfunc call's number."""
    program = request.program
    insns = list(program.insns)
    for ref in program.kfuncs:
        insns[ref.insn] = replace(insns[ref.insn], imm=0, off=0)
    maps = tuple(replace(spec, progs=(), inner=None, inner_maps=()) for spec in program.maps)
    return replace(request, program=replace(program, insns=tuple(insns), section="", maps=maps))


def _read_back(request: Request, text: str) -> Iterator[Finding]:
    try:
        read = parse(text, "listing")
    except InputError as error:
        yield Finding("codec", "listing unread", str(error))
        return
    if _bare(read.program) != _bare(request.program) or read.runs != request.runs:
        yield Finding("codec", "listing", "the text of the program is read as another one")
    elif _says_all(request.program) and _prototypes(read.program) != _prototypes(request.program):
        yield Finding("codec", "prototypes", "the text of the program has other prototypes")


def _bare(program: Program) -> tuple[Program, list[int | None], int | None]:
    """What text keeps, but for prototypes: of BTF, where values hold a lock, and which function takes exceptions."""
    locks = [lock_of(spec, program.btf) for spec in program.maps]
    maps = tuple(
        spec if lock is None else replace(spec, btf_key=0, btf_value=0)
        for spec, lock in zip(program.maps, locks, strict=True)
    )
    bare = replace(program, btf=None, func_info=(), line_info=(), maps=maps)
    return bare, locks, exceptions.callback(program)


def _says_all(program: Program) -> bool:
    """Whether text can name all functions: none has more parameters than a function may have."""
    btf = program.btf
    return btf is None or all(
        len(btf.prototype(info.type_id).params) <= isa.MAX_FUNC_ARGS for info in program.func_info
    )


def _prototypes(program: Program) -> list[tuple[int, str, int]]:
    btf = program.btf
    if btf is None:
        return []
    infos = program.func_info
    return [(info.insn, str(btf.prototype(info.type_id)), btf.linkage(info.type_id)) for info in infos]
