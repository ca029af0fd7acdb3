"""Rules of numbers: what a compare, a mask, a shift, a move leaves possible, and what follows for an index or a branch.

Most programs here have a place that only a number beyond a bound can reach. Inside, no number can, and what stands there
may be anything; outside, the bound is one off.
"""

from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.rules.recipe import Recipe, Rules, number

RULES = Rules()
_BAD = (
    "r0 = *(u64 *)(r7 +0)",
    "r10 = r1",
    "r0 = *(u64 *)(r10 +8)",
    "r0 = map[values][0]+0\nr0 = *(u64 *)(r0 +64)",
)
_BOUNDS = (1, 7, 63, 127, 255, 4096, 0x7FFFFFFF)


def _reaches(draw: Draw, make: str, test: str) -> Recipe:
    """Where `test` is true for the number that `make` leaves in r1, there is what no program may do."""
    return Recipe(f"{make}\nif {test} goto bad\nr0 = 1\nexit\nbad:\nr7 = 5\n{draw.pick(_BAD)}\nexit")


def _reg(draw: Draw) -> str:
    return "r" if draw.chance(0.6) else "w"


@RULES("range-above")
def _above(draw: Draw, inside: bool) -> Recipe:
    """At most K by a first compare, asked again by a second one."""
    bound = draw.pick(_BOUNDS)
    reg = _reg(draw)
    first, edge = draw.pick(((f"{reg}1 > {bound}", bound), (f"{reg}1 >= {bound}", bound - 1)))
    second = draw.pick((f"{reg}1 > {edge}", f"{reg}1 >= {edge + 1}", f"{reg}1 == {edge + 1}"))
    if not inside:
        second = draw.pick((f"{reg}1 >= {edge}", f"{reg}1 == {edge}"))
    return _reaches(
        draw, f"{number('r1')}\nr0 = 0\nif {first} goto done\ngoto next\ndone:\nexit\nnext:", second
    )


@RULES("range-below")
def _below(draw: Draw, inside: bool) -> Recipe:
    bound = draw.pick(_BOUNDS)
    reg = _reg(draw)
    first, edge = draw.pick(
        ((f"{reg}1 < {bound}", bound), (f"{reg}1 <= {bound}", bound + 1 if bound < 0x7FFFFFFF else bound))
    )
    if bound == 0x7FFFFFFF:
        first, edge = f"{reg}1 < {bound}", bound
    second = draw.pick((f"{reg}1 < {edge}", f"{reg}1 <= {edge - 1}", f"{reg}1 == {edge - 1}"))
    if not inside:
        second = draw.pick((f"{reg}1 <= {edge}", f"{reg}1 == {edge}"))
    return _reaches(
        draw, f"{number('r1')}\nr0 = 0\nif {first} goto done\ngoto next\ndone:\nexit\nnext:", second
    )


@RULES("range-signed")
def _signed(draw: Draw, inside: bool) -> Recipe:
    bound = draw.pick((-4096, -128, -1, 0, 1, 127, 65535))
    reg = _reg(draw)
    if draw.chance(0.5):
        first, second = (
            f"{reg}1 s> {bound}",
            (f"{reg}1 s> {bound}", f"{reg}1 s>= {bound + 1}", f"{reg}1 == {bound + 1}"),
        )
        wrong = (f"{reg}1 s>= {bound}", f"{reg}1 == {bound}")
    else:
        first, second = (
            f"{reg}1 s< {bound}",
            (f"{reg}1 s< {bound}", f"{reg}1 s<= {bound - 1}", f"{reg}1 == {bound - 1}"),
        )
        wrong = (f"{reg}1 s<= {bound}", f"{reg}1 == {bound}")
    return _reaches(
        draw,
        f"{number('r1')}\nr0 = 0\nif {first} goto done\ngoto next\ndone:\nexit\nnext:",
        draw.pick(second if inside else wrong),
    )


@RULES("range-width")
def _width(draw: Draw, inside: bool) -> Recipe:
    """32 bits of a number are bounded; all 64 are only where the upper half is known."""
    bound = draw.pick((7, 255, 65535))
    known = draw.pick(("w1 = w1\n", "r1 <<= 32\nr1 >>= 32\n", "r1 &= 0x7fffffff\n")) if inside else ""
    return _reaches(
        draw,
        f"{number('r1')}\n{known}r0 = 0\nif w1 > {bound} goto done\ngoto next\ndone:\nexit\nnext:",
        f"r1 > {bound}",
    )


@RULES("range-mask")
def _mask(draw: Draw, inside: bool) -> Recipe:
    mask = draw.pick((1, 3, 7, 8, 24, 63, 255, 0x7FFF, 0x7FFFFFFF))
    reg = _reg(draw)
    tests = (
        f"r1 > {mask}",
        f"r1 & {~mask & 0xFFFF}" if ~mask & 0xFFFF else f"r1 > {mask}",
        "r1 s< 0",
        f"w1 s> {mask}",
    )
    wrong = (f"r1 >= {mask}", f"r1 == {mask}", f"r1 & {mask}")
    return _reaches(draw, f"{number('r1')}\n{reg}1 &= {mask}", draw.pick(tests if inside else wrong))


@RULES("range-shift")
def _shift(draw: Draw, inside: bool) -> Recipe:
    count = draw.pick((1, 8, 16, 31, 32, 33, 48, 56, 63))
    if draw.chance(0.5) and count < 63 and 64 - count <= 31:
        edge = (1 << (64 - count)) - 1
        return _reaches(
            draw,
            f"{number('r1')}\nr1 >>= {count}",
            draw.pick((f"r1 > {edge}", "r1 s< 0")) if inside else f"r1 == {edge}",
        )
    if count == 63:
        tests, wrong = ("r1 s> 0", "r1 s< -1"), ("r1 == -1", "r1 == 0")
        return _reaches(draw, f"{number('r1')}\nr1 s>>= 63", draw.pick(tests if inside else wrong))
    low = (1 << min(count, 30)) - 1
    return _reaches(
        draw,
        f"{number('r1')}\nr1 <<= {count}",
        f"r1 & {low}" if inside else f"r1 & {1 << count}" if count < 31 else "r1 s< 0",
    )


@RULES("range-extend")
def _extend(draw: Draw, inside: bool) -> Recipe:
    """Sign-extending moves and loads."""
    bits = draw.pick((8, 16, 32))
    top = (1 << (bits - 1)) - 1
    if draw.chance(0.5):
        make = f"{number('r1')}\nr1 = (s{bits})r1"
    else:
        make = f"r2 = map[values][0]+8\nr1 = *(s{bits} *)(r2 +0)"
    tests = (f"r1 s> {top}", f"r1 s< {-top - 1}") if bits < 32 else ("r1 s> 0x7fffffff", "r1 s< -0x80000000")
    wrong = (f"r1 == {top}", f"r1 == {-top - 1}", "r1 s< 0")
    return _reaches(draw, make, draw.pick(tests if inside else wrong))


@RULES("range-load")
def _load(draw: Draw, inside: bool) -> Recipe:
    bits = draw.pick((8, 16))
    top = (1 << bits) - 1
    test = (
        draw.pick((f"r1 > {top}", "r1 s< 0", f"w1 s> {top}"))
        if inside
        else draw.pick((f"r1 == {top}", f"r1 >= {top}"))
    )
    return _reaches(draw, f"r2 = map[values][0]+{draw.below(9)}\nr1 = *(u{bits} *)(r2 +0)", test)


@RULES("range-arithmetic")
def _arithmetic(draw: Draw, inside: bool) -> Recipe:
    """Of two bounded numbers: their sum, difference, product, or, and, xor, quotient, rest."""
    one, other = draw.pick((7, 15, 100)), draw.pick((3, 8, 63))
    op, low, high = draw.pick(
        (
            ("+=", 0, one + other), ("-=", -other, one), ("*=", 0, one * other),
            ("|=", 0, (1 << max(one.bit_length(), other.bit_length())) - 1),
            ("&=", 0, min(one, other)), ("^=", 0, (1 << max(one.bit_length(), other.bit_length())) - 1),
        )
    )  # fmt: skip
    reg = _reg(draw) if low >= 0 else "r"
    make = f"{number('r1')}\n{number('r2', 1)}\nr0 = 0\nif r1 > {one} goto done\nif r2 > {other} goto done\n{reg}1 {op} {reg}2\ngoto next\ndone:\nexit\nnext:"
    tests = (f"r1 s> {high}", f"r1 s< {low}")
    wrong = tuple(
        {"+=": (f"r1 == {high}",), "-=": (f"r1 == {low}", f"r1 == {high}")}.get(op, ("r1 == 0", "r1 s<= 1"))
    )
    return _reaches(draw, make, draw.pick(tests if inside else wrong))


@RULES("range-constant")
def _constant(draw: Draw, inside: bool) -> Recipe:
    """A bounded number and a constant."""
    bound = draw.pick((7, 15, 255))
    op, value, low, high = draw.pick(
        (
            ("+=", 10, 10, bound + 10), ("-=", 10, -10, bound - 10), ("*=", 4, 0, 4 * bound), ("<<=", 3, 0, bound << 3),
            (">>=", 1, 0, bound >> 1), ("|=", 1, 1, bound | 1), ("/=", 2, 0, bound // 2), ("%=", 5, 0, 4), ("^=", 0, 0, bound),
        )
    )  # fmt: skip
    make = f"{number('r1')}\nr1 &= {bound}\nr1 {op} {value}"
    tests = (f"r1 s> {high}", f"r1 s< {low}")
    return _reaches(draw, make, draw.pick(tests if inside else (f"r1 == {high}", f"r1 == {low}")))


@RULES("range-negate")
def _negate(draw: Draw, inside: bool) -> Recipe:
    bound = draw.pick((7, 255))
    return _reaches(
        draw,
        f"{number('r1')}\nr1 &= {bound}\nr1 = -r1",
        draw.pick(("r1 s> 0", f"r1 s< {-bound}")) if inside else f"r1 == {-bound}",
    )


@RULES("range-registers")
def _registers(draw: Draw, inside: bool) -> Recipe:
    """Two registers that were compared with each other."""
    bound = draw.pick((7, 100))
    first, left = draw.pick((("r1 > r2", "<="), ("r1 >= r2", "<"), ("r1 s> r2", "s<=")))
    del left
    make = f"{number('r1')}\n{number('r2', 1)}\nr2 &= {bound if bound != 100 else 63}\nr0 = 0\nif {first} goto done\ngoto next\ndone:\nexit\nnext:"
    top = bound if bound != 100 else 63
    if "s>" in first:
        return _reaches(draw, make, f"r1 s> {top}" if inside else "r1 s< 0")
    return _reaches(draw, make, f"r1 > {top}" if inside else f"r1 == {top - 1}")


@RULES("range-equal")
def _equal(draw: Draw, inside: bool) -> Recipe:
    """Equal to a constant on one side, unequal on the other."""
    value = draw.pick((0, 1, 63, -1, 0x7FFFFFFF))
    reg = _reg(draw)
    if draw.chance(0.5):
        make = f"{number('r1')}\nr0 = 0\nif {reg}1 != {value} goto done\ngoto next\ndone:\nexit\nnext:"
        return _reaches(draw, make, f"{reg}1 != {value}" if inside else f"{reg}1 == {value}")
    make = f"{number('r1')}\nr1 &= 1\nr0 = 0\nif r1 == 0 goto done\ngoto next\ndone:\nexit\nnext:"
    return _reaches(draw, make, "r1 != 1" if inside else "r1 == 1")


@RULES("range-bits")
def _bits(draw: Draw, inside: bool) -> Recipe:
    """if r1 & mask: on the one side some bit is set, on the other none."""
    mask = draw.pick((1, 8, -8, 0x7FFFFFF0, -0x80000000, -2))
    reg = _reg(draw)
    make = f"{number('r1')}\nr0 = 0\nif {reg}1 & {mask} goto done\ngoto next\ndone:\nexit\nnext:"
    if mask in (-8, -2):
        bound = -mask - 1
        return _reaches(draw, make, f"{reg}1 > {bound}" if inside else f"{reg}1 == {bound}")
    return _reaches(draw, make, f"{reg}1 & {mask}" if inside else f"{reg}1 & {mask ^ 4 if mask > 0 else 4}")


@RULES("range-linked")
def _linked(draw: Draw, inside: bool) -> Recipe:
    """A bound of one register is a bound of its copy, also of one with a constant added, and in a stack word."""
    bound, add = draw.pick((7, 50)), draw.pick((0, 4))
    copy = draw.pick(
        (f"r2 = r1\nr2 += {add}\n", f"r3 = r1\nr2 = r3\nr2 += {add}\n", "*(u64 *)(r10 -8) = r1\n")
    )
    spilled = "r10" in copy
    load = "r2 = *(u64 *)(r10 -8)\n" if spilled else ""
    edge = bound if spilled else bound + add
    return _reaches(
        draw, f"{number('r1')}\nw1 = w1\n{copy}r0 = 0\nif r1 > {bound} goto done\n{load}goto next\ndone:\nexit\nnext:",
        f"r2 > {edge}" if inside else f"r2 > {edge - 1}",
    )  # fmt: skip


@RULES("range-narrow-copy")
def _narrow_copy(draw: Draw, inside: bool) -> Recipe:
    """A 32-bit move is a copy only where the upper half is zero."""
    upper = "w1 = w1\n" if inside else ""
    return _reaches(
        draw,
        f"{number('r1')}\n{upper}w2 = w1\nr0 = 0\nif r2 > 7 goto done\ngoto next\ndone:\nexit\nnext:",
        "r1 > 7",
    )


@RULES("division")
def _division(draw: Draw, inside: bool) -> Recipe:
    op = draw.pick(("/=", "%=", "s/=", "s%="))
    reg = _reg(draw)
    value = draw.pick((1, -1, 7)) if inside else 0
    return Recipe(f"{number('r1')}\n{reg}1 {op} {value}\nr0 = r1\nexit")


@RULES("shift-count")
def _count(draw: Draw, inside: bool) -> Recipe:
    op = draw.pick(("<<=", ">>=", "s>>="))
    reg = _reg(draw)
    top = 63 if reg == "r" else 31
    value = draw.pick((0, top)) if inside else draw.pick((top + 1, 64, -1))
    return Recipe(f"{number('r1')}\n{reg}1 {op} {value}\nr0 = r1\nexit")


@RULES("register-unwritten")
def _unwritten(draw: Draw, inside: bool) -> Recipe:
    reg = draw.between(2, 9)
    write = f"r{reg} = {draw.imm()}\n" if inside else ""
    use = draw.pick(
        (
            f"r0 = r{reg}",
            f"r0 = 1\nr0 += r{reg}",
            f"r0 = 1\nif r{reg} == 1 goto +0",
            f"*(u64 *)(r10 -8) = r{reg}\nr0 = 1",
        )
    )
    return Recipe(f"{write}{use}\nexit", quiet=True)


@RULES("register-after-call")
def _after_call(draw: Draw, inside: bool) -> Recipe:
    reg = draw.between(6, 9) if inside else draw.between(1, 5)
    call = draw.pick(("call bpf_ktime_get_ns", "call okf_count", "call g"))
    return Recipe(f"r{reg} = 7\n{call}\nr0 = r{reg}\ncall g\nexit", ("static u64 g():\nr0 = 2\nexit",))


@RULES("register-callee")
def _callee(draw: Draw, inside: bool) -> Recipe:
    """A function finds its arguments in registers, and nothing else."""
    count = draw.between(1, 5)
    reg = draw.between(1, count) if inside else draw.between(6, 9)
    params = ", ".join(f"u64 {letter}" for letter in "abcde"[:count])
    sets = "\n".join(f"r{at} = {at}" for at in range(1, 10))
    return Recipe(f"{sets}\ncall f\nexit", (f"static u64 f({params}):\nr0 = r{reg}\nexit",))


@RULES("result-missing")
def _missing(draw: Draw, inside: bool) -> Recipe:
    result = "r0 = 3\n" if inside else ""
    if draw.chance(0.5):
        return Recipe(f"{result}exit", quiet=True)
    return Recipe("call f\nr0 += 1\nexit", (f"static u64 f():\n{result}r6 = 1\nexit",), quiet=True)


@RULES("result-void")
def _void(draw: Draw, inside: bool) -> Recipe:
    call = f"r6 = map[values][0]+{draw.pick((0, 8, 48))}\n*(u64 *)(r11 -8) = r6\nr1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\ncall okf_void6\n"
    return Recipe(f"{call}{'r0 = 1' if inside else 'r0 += 1'}\nexit")


@RULES("frame-pointer")
def _frame_pointer(draw: Draw, inside: bool) -> Recipe:
    line = draw.pick(("r{} += 8", "r{} = 4", "r{} = r1", "r{} = *(u64 *)(r2 +0)", "w{} = 1"))
    return Recipe(
        f"r1 = 1\nr9 = r10\nr2 = map[values][0]+0\n{line.format(9 if inside else 10)}\nr0 = 0\nexit"
    )


@RULES("range-shift-far")
def _shift_far(draw: Draw, inside: bool) -> Recipe:
    """A bounded number that is shifted until it does not fit."""
    count = draw.pick((60, 61, 62, 63))
    make = f"{number('r1')}\nr1 &= 15\nr1 <<= {count}"
    low = draw.pick((0x7FFFFFFF, 1 << 20, 255))
    return _reaches(draw, make, f"r1 & {low}" if inside else draw.pick(("r1 s< 0", "r1 == 0", "r1 != 0")))


@RULES("range-upper-half")
def _upper_half(draw: Draw, inside: bool) -> Recipe:
    """A compare of 32 bits says nothing of those above, which a shift brings down."""
    bound = draw.pick((7, 255))
    count = draw.pick((32, 33, 40))
    known = "w1 = w1\n" if inside else ""
    make = f"{number('r1')}\n{known}r0 = 0\nif w1 > {bound} goto done\nr1 >>= {count}\ngoto next\ndone:\nexit\nnext:"
    return _reaches(
        draw,
        make,
        draw.pick(("r1 != 0", "r1 > 0")) if inside else draw.pick(("r1 != 0", "r1 == 1", "r1 > 7")),
    )


@RULES("range-both-ways")
def _both_ways(draw: Draw, inside: bool) -> Recipe:
    """Both ways of a compare with the largest or least possible number are ways that a run may take."""
    bound = draw.pick((7, 15, 63, 255))
    reg = _reg(draw)
    test = draw.pick(
        (
            f"{reg}1 < {bound}",
            f"{reg}1 <= {bound - 1}",
            f"{reg}1 != {bound}",
            f"{reg}1 > 0",
            f"{reg}1 s< {bound}",
            f"{reg}1 == {bound}",
            f"{reg}1 & {bound}",
        )
    )
    bad = "r0 = 2" if inside else draw.pick(_BAD).replace("r7", "r8")
    one, other = ("r0 = 3", bad) if draw.chance(0.5) else (bad, "r0 = 3")
    return Recipe(
        f"{number('r1')}\nr8 = 5\nr1 &= {bound}\nif {test} goto yes\n{one}\nexit\nyes:\n{other}\nexit"
    )


@RULES("range-linked-result")
def _linked_result(draw: Draw, inside: bool) -> Recipe:
    """A copy with a constant added is what is used as an index when the first one was bounded."""
    add = draw.pick((1, 4, 8))
    bound = 56 - add if inside else draw.pick((57 - add, 63))
    return Recipe(
        f"{number('r6')}\nw6 = w6\nr7 = r6\nr7 += {add}\nr0 = 0\nif r6 > {bound} goto out\nr1 = map[values][0]+0\nr1 += r7\nr0 = *(u64 *)(r1 +0)\nr0 += r7\nout:\nexit"
    )
