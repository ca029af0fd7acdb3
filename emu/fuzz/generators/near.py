"""Generator `near`: programs on the border of each rule of the verifier, on both sides.

The rules' makers write text; it is parsed once for each text that they make. Something that changes nothing is put in
front, and inputs and contents of maps are drawn anew each time.
"""

import random
from dataclasses import replace
from functools import lru_cache

from bpf import asm
from bpf.insn import Insn
from bpf.maps import MapSpec
from bpf.program import FuncInfo, KfuncRef, Program, Request
from emu.fuzz.generators.code import Code, insn_of, jump_table, link
from emu.fuzz.generators.draw import U64, Draw
from emu.fuzz.generators.made import Made
from emu.fuzz.generators.plan import VALUE_SIZE
from emu.fuzz.generators.prototypes import GLOBAL, Param, Signature
from emu.fuzz.generators.rules import EDGES, MAKERS, Recipe
from emu.fuzz.generators.setting import FLAGS, context_type, inputs

_BORDERS = (
    0, 1, 2, 3, 6, 7, 8, 9, 15, 16, 31, 32, 50, 54, 55, 56, 57, 60, 62, 63, 64, 65, 100, 127, 128, 255, 256, -1, -2, -8, -9, -128, -129,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 0x100000007, 0x10000003F, 1 << 63, (1 << 63) - 1,
)  # fmt: skip
_EDGES = 0.2  # of all programs
_STATE_FREQ = 8
_TABLE = "jumps"
MAPS = {
    "values": f"map values: array key 4 value {VALUE_SIZE} max 1 dump",
    "table": f"map table: hash key 4 value {VALUE_SIZE} max 4",
    "ring": "map ring: ringbuf key 0 value 0 max 4096",
    "progs": "map progs: prog_array key 4 value 4 max 2\n    progs 0 = target",
    "text": "map text: array key 4 value 16 max 1 flags 128 freeze\n    elem 00000000 = 68656c6c6f2c20776f726c6400000000",
    "endless": "map endless: array key 4 value 16 max 1 flags 128 freeze\n    elem 00000000 = 68656c6c6f2c20776f726c6468656c6c",
}


def near(rng: random.Random) -> Made:
    """One program of this kind."""
    draw = Draw(rng)
    name, maker = draw.pick(EDGES if draw.random() < _EDGES else MAKERS)
    inside = draw.random() < 0.5
    recipe = maker(draw, inside)
    program = assembled(replace(recipe, words=()))
    program = replace(program, maps=tuple(_filled(draw, spec, recipe.words) for spec in program.maps))
    if not recipe.quiet:
        program = _behind(_idle(draw), program)
    others = {"target": _target(recipe.prog_type)} if "progs" in recipe.maps else {}
    side = "inside" if inside else "outside"
    return Made(Request(program, inputs(draw, recipe.prog_type)), others, (f"rule:{name}/{side}",))


@lru_cache(maxsize=1 << 12)
def assembled(recipe: Recipe) -> Program:
    """The program of a recipe, with the maps as they are declared."""
    number = FLAGS.get(recipe.prog_type, 0) | (_STATE_FREQ if recipe.frequent else 0)
    flags = f" flags {number}" if number else ""
    head = f"prog type {recipe.prog_type} license GPL{flags}"
    main = f"int main({context_type(recipe.prog_type)}ctx):\n{recipe.main}"
    table = [f"map {_TABLE}: insn_array key 4 value 16 max {len(recipe.jumps)}"] if recipe.jumps else []
    text = [head, *(MAPS[name] for name in recipe.maps), *table, main, *recipe.functions]
    program = asm.parse("\n".join(text) + "\n", "near").program
    if recipe.jumps:
        made = replace(jump_table(0, recipe.jumps), name=_TABLE, freeze=not recipe.thawed)
        program = replace(program, maps=(*program.maps[:-1], made))
    return program


def _filled(draw: Draw, spec: MapSpec, first: tuple[int, ...]) -> MapSpec:
    if spec.name == "values":
        return replace(spec, elems=((bytes(4), _words(draw, first)),))
    if spec.name == "table" and draw.random() < 0.7:
        return replace(spec, elems=((draw.below(2).to_bytes(4, "little"), draw.bytes(VALUE_SIZE)),))
    return spec


def _words(draw: Draw, first: tuple[int, ...]) -> bytes:
    """A value of words that begins with these; the others are, for the most part, where rules have their borders."""
    count = VALUE_SIZE // 8 - len(first)
    words = (draw.pick(_BORDERS) if draw.random() < 0.6 else draw.word() for _ in range(count))
    return b"".join((word & U64).to_bytes(8, "little") for word in (*first, *words))


def _idle(draw: Draw) -> list[Insn]:
    """A few instructions that only r0 and r9 know of."""
    code = Code()
    for _ in range(draw.below(5)):
        dst = draw.pick((0, 9))
        if draw.random() < 0.4:
            code.wide(dst, draw.word())
        else:
            code.mov_imm(dst, draw.imm())
        code.add_imm(dst, draw.imm())
    return [insn_of(*row) for row in code.rows]


def _behind(front: list[Insn], program: Program) -> Program:
    """The program with instructions in front of its first one."""
    more = len(front)
    maps = tuple(
        spec.with_jumps([jump + more for jump in spec.jumps]) if spec.jumps else spec for spec in program.maps
    )
    first, *others = program.func_info
    return replace(
        program,
        insns=(*front, *program.insns),
        func_info=(first, *(FuncInfo(info.insn + more, info.type_id) for info in others)),
        kfuncs=tuple(KfuncRef(ref.insn + more, ref.name, ref.module) for ref in program.kfuncs),
        maps=maps,
    )


@lru_cache
def _target(prog_type: str) -> Program:
    code = Code()
    code.mov_imm(0, 42)
    code.exit()
    main = Signature("main", (Param(context_type(prog_type), ctx=True),), "int", GLOBAL)
    return link("target", [(main, code)], prog_type=prog_type, prog_flags=FLAGS.get(prog_type, 0))
