"""A difference told in full: BPF instruction, source line, native instruction, argument and where it lives."""

from bpf import isa, kfuncs
from bpf.program import Program
from emu.compare import Difference
from emu.native import argument_source, bpf_text, native_code, slots_of, source_line
from emu.outcome import Outcome
from jit.image import Image, Layout

NATIVE_REGS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")


def bpf_place(argument: int) -> str:
    """Where the caller puts an argument, in BPF terms: r1..r5, then r11-8, r11-16 ..."""
    return f"r{argument}" if argument <= isa.MAX_REG_ARGS else f"r11-{8 * (argument - isa.MAX_REG_ARGS)}"


def native_place(argument: int) -> str:
    """Where a native callee finds an argument at its first instruction."""
    return NATIVE_REGS[argument - 1] if argument <= 6 else f"[rsp+{8 * (argument - 6):#x}]"


def parameter(callee: str, argument: int) -> str:
    """Type and name of a kfunc's parameter, "" where they are not known."""
    kfunc = kfuncs.KFUNCS.get(callee)
    if kfunc is None or argument > len(kfunc.proto.params):
        return ""
    param = kfunc.proto.params[argument - 1]
    return f"{param.type}{'' if param.type.kind == 'ptr' else ' '}{param.name}"


def explain(
    difference: Difference, program: Program, image: Image | None, sandbox: Outcome | None
) -> list[str]:
    """Lines for a person: what parts, then where."""
    lines = [difference.message]
    if difference.run:
        lines.append(f"in run {difference.run + 1}")
    placed = _placed(image, sandbox)
    insn = difference.insn
    if insn is not None:
        lines += _instruction("at", program, insn, placed)
    if difference.argument is not None and insn is not None:
        lines.append(
            f"argument {difference.argument}{_named(difference)}: put in {bpf_place(difference.argument)},"
            f" found by the callee in {native_place(difference.argument)}"
        )
        source = argument_source(program, insn, difference.argument)
        if source is not None:
            lines += _instruction("put by", program, source, placed)
    if difference.native is not None:
        lines.append(f"native instruction at {difference.native:#x}")
    return lines


def located(precise: Outcome | None, most: int = 8) -> list[str]:
    """What precise mode found, a line each; nothing where it found nothing."""
    found = [violation for run in precise.runs for violation in run.violations] if precise else []
    lines = [
        f"{one.check}: {one.message}{'' if one.native is None else f' (native {one.native:#x}, {one.func})'}"
        for one in found[:most]
    ]
    return [*lines, f"... {len(found) - most} more"] if len(found) > most else lines


def _named(difference: Difference) -> str:
    assert difference.argument is not None
    text = parameter(difference.callee, difference.argument)
    return f" ({text})" if text else ""


def _placed(image: Image | None, sandbox: Outcome | None) -> tuple[Image, Layout, tuple[bytes, ...]] | None:
    if image is None or sandbox is None:
        return None
    layout, codes = sandbox.extra.get("layout"), sandbox.extra.get("codes")
    if not isinstance(layout, Layout) or not isinstance(codes, tuple):
        return None
    return image, layout, codes


def _instruction(
    word: str, program: Program, insn: int, placed: tuple[Image, Layout, tuple[bytes, ...]] | None
) -> list[str]:
    lines = [f"{word} {bpf_text(program, insn)}"]
    source = source_line(program, insn)
    if source is not None:
        lines.append(f"  source {source.file}:{source.line}: {source.text.strip()}")
    if placed is not None:
        image, layout, codes = placed
        found = (native_code(image, layout, codes, slot) for slot in slots_of(image, insn))
        lines += [f"  native {code}" for code in found if code.code or image.functions[0].offsets]
    return lines
