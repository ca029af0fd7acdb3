"""Rules whose border only certain numbers reach: what a run finds in the map lies on the border itself, or beside it.

In most other rules any number will do. Here a verifier that is one off, or one that takes one number for another, is seen by
a run only when that very number comes; so these recipes say what the map's first words are.
"""

from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.rules.recipe import Recipe, Rules, arguments, function, letters, number, slots

RULES = Rules()
_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
_VALUE = 64
_OUT = "exit\nout:\nr0 = 0\nexit"


def _more(draw: Draw) -> str:
    """Branches that change nothing that counts, so that there are more states to compare."""
    tests = (
        f"if r6 s> {draw.pick((3, 100))} goto m{at}\nr9 = {draw.pick((0, at))}\nm{at}:\n"
        for at in range(draw.below(3))
    )
    return "".join(("r9 = 0\n", *tests))


def _indexed(off: int, index: str) -> str:
    """r0 = the byte of the array's value at an index and a constant."""
    return f"r1 = map[values][0]+0\nr1 += {index}\nr0 = *(u8 *)(r1 {off:+d})\n"


@RULES("shift-out")
def _shift_out(draw: Draw, inside: bool) -> Recipe:
    """A bounded number shifted out of the word, at the edge or beyond, and back: what is left of it is an index."""
    reg, width = draw.pick((("r", 64), ("r", 64), ("w", 32)))
    left = draw.between(1, 6) if inside else draw.between(7, 14)  # bits that stay
    room = 1 << left
    bound = draw.pick((room - 1, room, room + 1, room + room // 2))
    count = str(width - left)
    take = ""
    if draw.chance(0.3):
        take, count = f"{reg}2 = {count}\n", f"{reg}2"
    first = draw.pick((bound, bound - 1, room - 1, room // 2, 1))
    return Recipe(
        f"{number('r6')}\n{take}if {reg}6 > {bound} goto out\n{reg}6 <<= {count}\n{reg}6 >>= {count}\n{_indexed(0, 'r6')}{_OUT}",
        words=(first,),
    )


@RULES("less-than-greatest")
def _less(draw: Draw, inside: bool) -> Recipe:
    """A number of at most K is compared with K: behind that it is K, and one byte further there is nothing."""
    bits = draw.between(1, 5)
    greatest = (1 << bits) - 1 if draw.chance(0.5) else draw.between(1, 40)
    masked = greatest & (greatest + 1) == 0 and draw.chance(0.7)
    bound = f"r6 &= {greatest}" if masked else f"if r6 > {greatest} goto out"
    reg = draw.pick(("r", "r", "w"))
    right, take = str(greatest), ""
    if draw.chance(0.3):
        right, take = f"{reg}2", f"r2 = {greatest}\n"
    test = draw.pick(
        (
            f"if {reg}6 < {right} goto out",
            f"if {reg}6 < {right} goto out",
            f"if {reg}6 >= {right} goto top\ngoto out\ntop:",
            f"if {reg}6 != {right} goto out",
            f"if {reg}6 <= {greatest - 1} goto out",
        )
    )
    off = _VALUE - 1 - greatest + (0 if inside else 1)
    first = draw.pick((greatest, greatest, greatest - 1, greatest + 1))
    return Recipe(
        f"{number('r6')}\n{take}{bound}\n{test}\n{_indexed(off, 'r6')}{_OUT}",
        words=(first,),
    )


@RULES("value-index-below")
def _below(draw: Draw, inside: bool) -> Recipe:
    """An index between -L and H, and a constant added to it that makes up for the least or does not, or is too much for the greatest."""
    kind = draw.pick(tuple(_SIZES))
    low, high = draw.pick((1, 3, 8, 16)), draw.pick((0, 3, 7, 31))
    last = _VALUE - _SIZES[kind] - high
    off = draw.pick((low, last, (low + last) // 2)) if inside else draw.pick((low - 1, low - 1, 0, last + 1))
    tests = [f"if r6 s> {high} goto out", f"if r6 s< -{low} goto out"]
    if draw.chance(0.5):
        tests.reverse()
    where = draw.pick(
        (
            f"r1 = map[values][0]+{off}\nr1 += r6",
            f"r1 = map[values][0]+0\nr1 += r6\nr1 += {off}",
            f"r1 = map[values][0]+0\nr6 += {off}\nr1 += r6",
        )
    )
    access = draw.pick((f"r0 = *({kind} *)(r1 +0)", f"*({kind} *)(r1 +0) = 3\nr0 = 1"))
    edge = high if off > last else -low  # where it is too much or too little, if anywhere
    first = draw.pick((edge, edge, edge, edge, -low, high, 0, -low - 1))
    return Recipe(
        f"{number('r6')}\n{chr(10).join(tests)}\n{where}\n{access}\n{_OUT}",
        words=(first,),
    )


@RULES("null-one-of-two")
def _one_of_two(draw: Draw, inside: bool) -> Recipe:
    """Two look-ups, of which one finds nothing, one is checked and one is used."""
    look = "{}r2 = r10\nr2 += -4\nr1 = map[{}]\ncall bpf_map_lookup_elem\n"
    known = "*(u32 *)(r10 -4) = {}\n"
    any_key = f"{number('r3')}\n*(u32 *)(r10 -4) = r3\n"  # the first word, which is an index that is there
    there = look.format(
        *draw.pick(((any_key, "values"), (any_key, "values"), (known.format(draw.below(2)), "table")))
    )
    gone = look.format(*draw.pick(((known.format(5), "table"), (known.format(1), "values"))))
    keys = [there, gone]
    checked, used = "r6", "r7"
    if draw.chance(0.5):
        keys.reverse()
        checked, used = used, checked
    if draw.chance(0.2):
        checked, used = used, checked
    if inside:
        checked = used
    check = draw.pick((f"if {checked} == 0 goto out\n", f"if {checked} != 0 goto in\ngoto out\nin:\n"))
    copy = draw.pick(("", f"r8 = {used}\n"))
    use = f"r0 = *(u64 *)({'r8' if copy else used} +{8 * draw.below(8)})\n"
    return Recipe(
        f"{keys[0]}r6 = r0\n{keys[1]}r7 = r0\n{copy}{check}{use}{_OUT}",
        maps=("values", "table"),
        words=(draw.pick((0, 0, 0, 1)),),
    )


@RULES("argument-beyond")
def _beyond(draw: Draw, inside: bool) -> Recipe:
    """The last stack argument, or the one behind it, which nobody stored for this call; used or not."""
    count = draw.between(6, 11)
    at = 8 * (count - 5 + (0 if inside else 1))
    reg = draw.pick(("r0", "r2", "r6"))
    use = draw.pick((f"{reg} = 1\n", f"{reg} = 1\n", f"r0 = {reg}\n"))
    before = f"{slots(7)}\n{arguments()}\ncall g\n" if draw.chance(0.3) else ""
    wide = (function(12, name="g"),) if before else ()
    return Recipe(
        f"{before}{slots(count - 5)}\n{arguments()}\ncall f\nexit",
        (f"static u64 f({letters(count)}):\n{reg} = *(u64 *)(r11 +{at})\n{use}r0 = 3\nexit", *wide),
    )


@RULES("join-linked")
def _linked(draw: Draw, inside: bool) -> Recipe:
    """One number is bounded, its copy is an index; on one of two ways there is no copy."""
    copy = draw.pick(("r7 = r6\n", "r6 = r7\n"))
    first, second = (copy, draw.pick((copy, "r7 = r6\n"))) if inside else (copy, draw.pick(("", "r9 = 1\n")))
    if draw.chance(0.25):
        first, second = second, first
    bounded, index = draw.pick((("r6", "r7"), ("r6", "r7"), ("r7", "r6")))
    limit = draw.pick((7, 56, 63))
    numbers = "\n".join(number(reg, at) for at, reg in enumerate(("r6", "r7", "r8")))
    small, large = draw.between(0, limit), draw.pick((1 << 20, 1 << 31, 64, 1 << 63))
    words = (small, large, draw.below(2)) if bounded == "r6" else (large, small, draw.below(2))
    return Recipe(
        f"{numbers}\nif r8 == 0 goto other\n{first}goto join\nother:\n{second}join:\n{_more(draw)}"
        f"if {bounded} > {limit} goto out\n{_indexed(0, index)}{_OUT}",
        words=words,
        frequent=draw.chance(0.7),
    )


def _chosen(draw: Draw, inside: bool, store: str, use: str) -> str:
    """Three ways with a constant each, and a choice that a branch asks for once: only behind that are all the same."""
    good = draw.between(0, _VALUE - 1)
    last = draw.between(0, _VALUE - 1) if inside else _VALUE + draw.pick((0, 8, 4096, 0x1FFFFF00))
    values = [good, draw.pick((good, good, draw.between(0, _VALUE - 1))), last]
    choices = draw.pick(((1, 2, 2), (1, 2, 2), (1, 1, 2), (3, 0, 0)))
    ways = [f"r8 = {choice}\n{store.format(value)}" for choice, value in zip(choices, values, strict=True)]
    return (
        f"{number('r6')}\n{number('r7', 1)}\nif r6 == 0 goto second\n{ways[0]}\ngoto join\n"
        f"second:\nif r7 == 0 goto third\n{ways[1]}\ngoto join\nthird:\n{ways[2]}\njoin:\n"
        f"if r8 == {choices[0]} goto same\nr9 = 0\nsame:\nr8 = 0\n{_more(draw)}if r6 == 77 goto next\nnext:\n{use}exit"
    )


def _zeros(draw: Draw) -> tuple[int, ...]:
    """For the most part the third way is the one that is gone."""
    return draw.pick((0, 0, 0, 5)), draw.pick((0, 0, 0, 5))


@RULES("join-chosen")
def _chosen_word(draw: Draw, inside: bool) -> Recipe:
    use = f"r2 = *(u64 *)(r10 -8)\n{_indexed(0, 'r2')}"
    main = _chosen(draw, inside, "*(u64 *)(r10 -8) = {}", use)
    return Recipe(main, words=_zeros(draw), frequent=draw.chance(0.7))
