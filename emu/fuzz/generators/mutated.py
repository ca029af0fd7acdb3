"""Generator `mutated`: one to three small changes to a program that was, or was meant to be, accepted.

A change is of one instruction, register, number, prototype or callee; nothing makes sure that what comes out is a program
that anybody would accept.
"""

import random
from collections.abc import Callable
from dataclasses import replace

from bpf import isa
from bpf.btf import Btf
from bpf.btf_types import Kind, ParamType
from bpf.opcodes import FORMS, Form, form_of
from bpf.program import Request
from emu.fuzz.generators.callees import KFUNCS_OF
from emu.fuzz.generators.calls import calls
from emu.fuzz.generators.corpus import Base, Corpus, packaged
from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.edit import Line, Text, is_form
from emu.fuzz.generators.isa import forms
from emu.fuzz.generators.made import Made

_STEPS = (-1, 1, -2, 2, -4, 4, -8, 8, -16, 16, -64, 64)
_TRIES = 12
_MAX_PARAMS = 12
_ALL_KFUNCS = tuple(one for some in KFUNCS_OF.values() for one in some)


def mutated(rng: random.Random) -> Made:
    """One program of this kind, made of a program of another generator or of one that comes with the package."""
    kind = rng.random()
    if kind < 0.85:
        made = (calls if kind < 0.5 else forms)(rng)
        base = Base(made.request.program, made.request.runs, made.others)
        return _changed(rng, base, ("base:calls" if kind < 0.5 else "base:isa",))
    return mutated_from(rng, packaged())


def mutated_from(rng: random.Random, corpus: Corpus) -> Made:
    """The same of a program of this corpus."""
    return _changed(rng, corpus.bases[int(rng.random() * len(corpus.bases))], ("base:corpus",))


def _changed(rng: random.Random, base: Base, tags: tuple[str, ...]) -> Made:
    draw = Draw(rng)
    draw.recent += [insn.imm for insn in base.program.insns[:40]]
    try:
        text = Text(base.program)
    except ValueError:
        return Made(Request(base.program, base.runs), base.others, (*tags, "unchanged"))
    wanted = draw.pick((1, 1, 1, 2, 2, 3))
    done: list[str] = []
    for _ in range(_TRIES * wanted):
        change = _CHANGES[int(draw.random() * len(_CHANGES))]
        if change(draw, text):
            done.append(f"change:{change.__name__.strip('_')}")
            if len(done) == wanted:
                break
    program = text.assembled() or base.program
    return Made(Request(program, base.runs), base.others, (*tags, *sorted(set(done))))


# ---------------------------------------------------------------- one change; whether it was possible


def _some(draw: Draw, text: Text, wanted: Callable[[Line], bool]) -> Line | None:
    for _ in range(_TRIES):
        line = draw.pick(text.lines)
        if wanted(line):
            return line
    return None


def _form(line: Line) -> Form | None:
    return form_of(line.insn())


def _insert(draw: Draw, text: Text, near: Line, line: Line) -> None:
    """Puts a line anywhere into the function that another one is in."""
    home = text.function_of(text.lines.index(near))
    text.lines.insert(draw.between(home.start + 1, home.stop - 1) if len(home) > 1 else home.stop, line)


def _constant(draw: Draw, text: Text) -> bool:
    """Another number in the place of one."""

    def has(line: Line) -> bool:
        form = _form(line)
        return form is not None and form.imm in ("imm", "shift", "low")

    line = _some(draw, text, has)
    if line is None:
        return False
    kind = draw.random()
    if kind < 0.3:
        value = line.imm + draw.pick(_STEPS)
    elif kind < 0.5:
        value = line.imm ^ (1 << draw.below(32))
    elif kind < 0.6:
        value = -line.imm
    else:
        value = draw.imm()
    line.imm = isa.sext(value, 32)
    if line.high is not None and line.src == 0 and draw.random() < 0.5:
        line.high = draw.imm()
    return True


def _shows(form: Form) -> tuple[str, ...]:
    """Fields in which a pointer would become a number that nobody can compare: its address."""
    cls = form.code & isa.CLASS_MASK
    if cls in (isa.JMP, isa.JMP32):
        return ("dst", "src")
    if cls == isa.STX or cls == isa.ALU or form.name.startswith("movsx") or form.name == "sub64_reg":
        return ("src",)
    return ()


def _register(draw: Draw, text: Text) -> bool:
    """Another register in the place of one."""

    def has(line: Line) -> bool:
        form = _form(line)
        return form is not None and (isinstance(form.dst, str) or isinstance(form.src, str))

    line = _some(draw, text, has)
    if line is None:
        return False
    form = _form(line)
    assert form is not None
    fields = [
        name for name in ("dst", "src") if isinstance(getattr(form, name), str) and name not in _shows(form)
    ]
    if not fields:
        return False
    setattr(line, draw.pick(fields), draw.pick((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10)))
    return True


def _offset(draw: Draw, text: Text) -> bool:
    """Another displacement: of a load, a store, a stack argument."""
    line = _some(draw, text, lambda one: one.off != 0 and one.target is None)
    if line is None:
        return False
    line.off = isa.sext(line.off + draw.pick(_STEPS), 16)
    return True


def _target(draw: Draw, text: Text) -> bool:
    """A jump to another place of its function."""
    line = _some(draw, text, lambda one: one.jumps)
    if line is None:
        return False
    line.target = text.lines[draw.pick(text.function_of(text.lines.index(line)))]
    return True


def _opcode(draw: Draw, text: Text) -> bool:
    """Another instruction of the same shape: add for sub, 32 bits for 64, < for s<, a byte for a word."""
    line = _some(draw, text, lambda one: _form(one) in _ALIKE)
    if line is None:
        return False
    form = _form(line)
    assert form is not None
    other = draw.pick(_ALIKE[form])
    line.code = other.code
    if isinstance(other.off, int):
        line.off = other.off
    elif isinstance(form.off, int):
        line.off = 0
    if isinstance(other.imm, int):
        line.imm = other.imm
    return True


def _operand(draw: Draw, text: Text) -> bool:
    """A constant for a register, or the other way."""
    classes = (isa.ALU, isa.ALU64, isa.JMP, isa.JMP32)
    line = _some(draw, text, lambda one: one.code & isa.CLASS_MASK in classes)
    if line is None:
        return False
    before = line.code, line.src, line.imm
    line.code ^= isa.X
    line.src, line.imm = (draw.below(10), 0) if line.code & isa.X else (0, draw.imm())
    if not is_form(line):
        line.code, line.src, line.imm = before
        return False
    return True


def _delete(draw: Draw, text: Text) -> bool:
    """One instruction less."""
    count = len(text.lines)
    text.without(draw.below(count))
    return len(text.lines) < count


def _double(draw: Draw, text: Text) -> bool:
    """One instruction twice, here or elsewhere."""
    line = draw.pick(text.lines)
    _insert(draw, text, line, line.copy())
    return True


def _swap(draw: Draw, text: Text) -> bool:
    """Two neighbours in the other order."""
    lines = text.lines
    at = draw.below(len(lines) - 1) if len(lines) > 1 else 0
    if at + 1 >= len(lines) or any(start in (lines[at], lines[at + 1]) for start, _ in text.starts):
        return False
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    return True


def _callee(draw: Draw, text: Text) -> bool:
    """Another function or kfunc is called."""
    line = _some(
        draw, text, lambda one: one.code == isa.OP_CALL and (one.kfunc is not None or one.target is not None)
    )
    if line is None:
        return False
    if line.kfunc is not None:
        other = draw.pick(_ALL_KFUNCS)
        line.kfunc = (other.name, other.module)
        return True
    starts = [start for start, _ in text.starts[1:] if start is not line.target]
    if not starts:
        return False
    line.target = draw.pick(starts)
    return True


def _argument(draw: Draw, text: Text) -> bool:
    """A stack argument more: a load or a store of one, anywhere."""
    near = draw.pick(text.lines)
    line = Line(near.insn())
    slot = 8 * draw.between(1, 7)
    kind = draw.random()
    if kind < 0.35:
        line.code, line.dst, line.src, line.off, line.imm = (
            isa.LDX | isa.MEM | isa.DW,
            draw.below(10),
            11,
            slot,
            0,
        )
    elif kind < 0.7:
        line.code, line.dst, line.src, line.off, line.imm = (
            isa.STX | isa.MEM | isa.DW,
            11,
            draw.below(10),
            -slot,
            0,
        )
    else:
        line.code, line.dst, line.src, line.off, line.imm = (
            isa.ST | isa.MEM | isa.DW,
            11,
            0,
            -slot,
            draw.imm(),
        )
    _insert(draw, text, near, line)
    return True


def _prototype(draw: Draw, text: Text) -> bool:
    """A function with a parameter more or less, or with one of another type."""
    btf = text.program.btf
    if btf is None or len(text.starts) < 2:
        return False
    _, tid = draw.pick(text.starts[1:])
    at = btf.types[tid].type
    proto = btf.types[at]
    if proto.kind is not Kind.FUNC_PROTO:
        return False
    params = list(proto.params)
    numbers = [number for number, one in enumerate(btf.types) if one.kind in (Kind.INT, Kind.PTR, Kind.ENUM)]
    kind = draw.random()
    if kind < 0.35 and len(params) < _MAX_PARAMS:
        names = {param.name for param in params}
        spare = next((one for one in btf.types if one.name and one.name_off and one.name not in names), None)
        if spare is None:
            return False
        params.append(ParamType(spare.name_off, draw.pick(numbers), spare.name))
    elif kind < 0.7 and params:
        params.pop()
    elif params:
        index = draw.below(len(params))
        params[index] = replace(params[index], type=draw.pick(numbers))
    else:
        return False
    types = (*btf.types[:at], replace(proto, params=tuple(params)), *btf.types[at + 1 :])
    text.program = replace(text.program, btf=Btf(types, btf.strings))
    return True


# What moves pointers stays what it is: a part of one would show its address.
_KEPT = ("callx", "addr_space_cast", "mov64_reg", "ldx_dw", "stx_dw")


def _alike() -> dict[Form, tuple[Form, ...]]:
    """For each form that has some, the others with the same fields and of the same sort."""
    groups: dict[tuple[object, ...], list[Form]] = {}
    for form in FORMS:
        cls, mode = form.code & isa.CLASS_MASK, form.code & isa.MODE_MASK
        sort = {isa.ALU64: isa.ALU, isa.JMP32: isa.JMP}.get(cls, cls)
        if not form.loadable or form.wide or form.group == "packet" or form.name in _KEPT:
            continue
        atomic = sort == isa.STX and mode == isa.ATOMIC
        key = (sort, form.dst, form.src, isinstance(form.off, str), form.imm if not atomic else "operation")
        groups.setdefault(key, []).append(form)
    return {
        one: tuple(x for x in some if x is not one)
        for some in groups.values()
        if len(some) > 1
        for one in some
    }


_ALIKE = _alike()
_CHANGES: tuple[Callable[[Draw, Text], bool], ...] = (
    *(_constant,) * 5,
    *(_register,) * 5,
    *(_offset,) * 4,
    *(_opcode,) * 5,
    *(_operand,) * 2,
    *(_delete,) * 3,
    *(_double,) * 2,
    *(_swap,) * 2,
    *(_target,) * 2,
    *(_callee,) * 2,
    *(_argument,) * 2,
    *(_prototype,) * 2,
)
