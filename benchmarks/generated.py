"""Random structured programs that a verifier has something to think about, as functions of a number.

Values live in r6..r9 and in spilled slots; statements are arithmetic of both widths, compares with both sides written out,
bounded loops, array values at checked and masked offsets, spills and fills of several widths, calls of a static function
with stack arguments.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bpf import asm
from bpf.program import Program

_OPS = ("+=", "-=", "*=", "&=", "|=", "^=", "/=", "%=", "s/=", "s%=")
_SHIFTS = ("<<=", ">>=", "s>>=")
_COMPARES = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
_CONSTANTS = (
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    63,
    64,
    255,
    256,
    4095,
    65535,
    0x7FFFFFFF,
    -1,
    -2,
    -8,
    -128,
    -0x80000000,
)
_VARS = ("r6", "r7", "r8")
VALUE_SIZE = 64


@dataclass(slots=True)
class _Writer:
    rng: random.Random
    lines: list[str] = field(default_factory=list)
    labels: int = 0
    loops: int = 0
    spilled: set[int] = field(default_factory=set)

    def put(self, *lines: str) -> None:
        self.lines.extend(f"    {line}" for line in lines)

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def mark(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def var(self) -> str:
        return self.rng.choice(_VARS)

    def constant(self) -> int:
        rng = self.rng
        return rng.choice(_CONSTANTS) if rng.random() < 0.7 else rng.randrange(-(1 << 31), 1 << 31)


def generate(number: int, slots: int = 2) -> Program:
    """Program `number`. slots: stack arguments of its function, 0..7."""
    rng = random.Random(f"generated {number}")
    nargs = 5 + rng.randrange(slots + 1)
    main = _Writer(rng)
    main.put("*(u32 *)(r10 -4) = 0", "r2 = r10", "r2 += -4", "r1 = map[values]", "call bpf_map_lookup_elem")
    main.put("if r0 == 0 goto out", "r9 = r0")
    for at, var in enumerate(_VARS):
        main.put(f"{var} = *({rng.choice(('u8', 'u16', 'u32', 'u64', 's8', 's16', 's32'))} *)(r9 +{8 * at})")
    _block(main, rng.randrange(3, 10), 0, nargs)
    _call(main, nargs)
    main.put("r0 = r6", "exit")
    main.mark("out")
    main.put("r0 = 0", "exit")
    params = ", ".join(f"u64 {chr(97 + i)}" for i in range(nargs))
    callee = _callee(rng, nargs)
    text = [
        "prog tc",
        f"map values: array key 4 value {VALUE_SIZE} max 1",
        "int main(void *ctx):",
        *main.lines,
        f"static u64 f({params}):",
        *callee,
    ]
    return asm.parse("\n".join(text) + "\n", f"generated {number}").program


def _callee(rng: random.Random, nargs: int) -> list[str]:
    lines = _Writer(rng)
    lines.put("r6 = r1", "r7 = r2", "r8 = r3")
    for at in range(nargs - 5):
        var = lines.var()
        lines.put(f"r0 = *(u64 *)(r11 +{8 * (at + 1)})", f"{var} {rng.choice(('+=', '^=', '&='))} r0")
    lines.labels = 1000
    _block(lines, rng.randrange(1, 5), 2, 0)
    lines.put(f"r0 = {lines.var()}", "exit")
    return lines.lines


def _block(out: _Writer, count: int, depth: int, nargs: int) -> None:
    """nargs: of the function that may be called; 0 inside of it, where no map value is at hand either."""
    kinds: list[Callable[[_Writer], None]] = [_alu, _alu, _alu, _spill, _fill]
    if nargs:
        kinds += [_access, _stack_access]
    for _ in range(count):
        which = out.rng.randrange(len(kinds) + 2)
        if which < len(kinds):
            kinds[which](out)
        elif which > len(kinds) and nargs:
            _call(out, nargs)
        elif depth >= 3:
            _alu(out)
        elif nargs and out.loops < 2 and out.rng.random() < 0.2:
            _loop(out, depth, nargs)
        else:
            _fork(out, depth, nargs)


def _alu(out: _Writer) -> None:
    rng = out.rng
    dst, src = out.var(), out.var()
    narrow = rng.random() < 0.4
    name = dst.replace("r", "w") if narrow else dst
    other = src.replace("r", "w") if narrow else src
    choice = rng.random()
    if choice < 0.15:
        out.put(f"{name} = {other}")
    elif choice < 0.25:
        out.put(f"{name} = ({rng.choice(('s8', 's16'))}){other}")
    elif choice < 0.3:
        out.put(f"{name} = -{name}")
    elif choice < 0.45:
        out.put(f"{name} {rng.choice(_SHIFTS)} {rng.randrange(32 if narrow else 64)}")
    elif choice < 0.7:
        value = out.constant()
        out.put(f"{name} {rng.choice(_OPS)} {value or 1}")
    else:
        out.put(f"{name} {rng.choice(_OPS)} {other}")


def _condition(out: _Writer) -> str:
    rng = out.rng
    left, right = out.var(), out.var()
    if rng.random() < 0.4:
        left, right = left.replace("r", "w"), right.replace("r", "w")
    return f"{left} {rng.choice(_COMPARES)} {right if rng.random() < 0.3 else out.constant()}"


def _fork(out: _Writer, depth: int, nargs: int) -> None:
    other, end = out.label(), out.label()
    out.put(f"if {_condition(out)} goto {other}")
    spilled = set(out.spilled)
    _block(out, out.rng.randrange(1, 4), depth + 1, nargs)
    after = out.spilled
    out.put(f"goto {end}")
    out.mark(other)
    out.spilled = spilled
    _block(out, out.rng.randrange(3), depth + 1, nargs)
    out.spilled &= after
    out.mark(end)


def _loop(out: _Writer, depth: int, nargs: int) -> None:
    out.loops += 1
    slot = 200 + 8 * out.loops
    head = out.label()
    out.put(f"*(u64 *)(r10 -{slot}) = 0")
    out.mark(head)
    spilled = set(out.spilled)
    _block(out, out.rng.randrange(1, 3), depth + 1, nargs)
    out.spilled &= spilled
    out.put(f"r1 = *(u64 *)(r10 -{slot})", "r1 += 1", f"*(u64 *)(r10 -{slot}) = r1")
    out.put(f"if r1 < {out.rng.randrange(2, 9)} goto {head}")


def _spill(out: _Writer) -> None:
    at, size = 8 * out.rng.randrange(2, 8), out.rng.choice((8, 8, 8, 4, 4, 2, 1))
    if size == 8:
        out.spilled.add(at)
    if size == 8 or at in out.spilled:
        text = out.var() if out.rng.random() < 0.8 else str(out.rng.choice((0, 0, 1, -1)))
        out.put(f"*(u{8 * size} *)(r10 -{at}) = {text}")


def _fill(out: _Writer) -> None:
    if out.spilled:
        at, kind = (
            out.rng.choice(sorted(out.spilled)),
            out.rng.choice(("u64", "u64", "u32", "u16", "u8", "s32", "s8")),
        )
        out.put(f"{out.var()} = *({kind} *)(r10 -{at})")


def _index(out: _Writer, room: int, base: str) -> None:
    """r1 = base + a number that was made small, in one of several ways."""
    rng = out.rng
    limit = room - 8
    end = out.label()
    out.put(f"r2 = {out.var()}")
    way = rng.randrange(3)
    if way == 0:
        out.put(f"r2 &= {rng.choice((limit, 7, 15, 31)) & 63}")
    elif way == 1:
        out.put(f"if r2 > {rng.randrange(limit + 1)} goto {end}_skip")
    else:
        out.put(f"if r2 s> {rng.randrange(limit + 1)} goto {end}_skip", f"if r2 s< 0 goto {end}_skip")
    out.put(f"r1 = {base}")
    if base == "r10":
        out.put(f"r1 += -{room + 256}")
    out.put("r1 += r2")


def _access(out: _Writer) -> None:
    _index(out, VALUE_SIZE, "r9")
    size, var = out.rng.choice((8, 32, 64)), out.var()
    out.put(f"{var} = *(u{size} *)(r1 +0)" if out.rng.random() < 0.6 else f"*(u{size} *)(r1 +0) = {var}")
    out.mark(f"l{out.labels}_skip")


def _stack_access(out: _Writer) -> None:
    for at in range(8):
        out.put(f"*(u64 *)(r10 -{256 + 64 - 8 * at}) = {out.rng.choice((0, 0, 1, 'r7', 'r8'))}")
    _index(out, 64, "r10")
    var = out.var()
    out.put(f"{var} = *(u8 *)(r1 +0)" if out.rng.random() < 0.6 else f"*(u8 *)(r1 +0) = {var}")
    out.mark(f"l{out.labels}_skip")


def _call(out: _Writer, nargs: int) -> None:
    for at in range(nargs - 5):
        out.put(f"*(u64 *)(r11 -{8 * (at + 1)}) = {out.var() if out.rng.random() < 0.8 else out.constant()}")
    for number in range(1, 6):
        out.put(f"r{number} = {out.var() if out.rng.random() < 0.8 else out.constant()}")
    out.put("call f", f"{out.var()} = r0")
