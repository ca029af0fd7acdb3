"""Rules of paths: what was found out on one way must not be believed on another (pruning, precision, refinement).

Several ways join with different constants, in a register, a stack word, a slot or the caller's frame; behind the join, and
behind more branches, something depends on which. Inside every constant is good, outside one of them is not.
"""

from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.rules.recipe import Recipe, Rules, arguments, letters, number

RULES = Rules()


def _ways(draw: Draw, store: str, values: list[int]) -> str:
    """One store of each value, on ways that join; r6 and r7 are unknown."""
    tests = (
        ("if r6 == {0} goto w{1}", "if r6 & {0} goto w{1}", "if w6 s< {0} goto w{1}"),
        ("if r7 s> {0} goto w{1}", "if w7 < {0} goto w{1}", "if r7 != {0} goto w{1}"),
    )
    lines = []
    for at, value in enumerate(values[:-1]):
        lines += [
            draw.pick(tests[at % 2]).format(draw.pick((1, 2, 64, 77)), at),
            store.format(value),
            "goto join",
            f"w{at}:",
        ]
    return "\n".join([*lines, store.format(values[-1]), "join:"])


def _more(draw: Draw) -> str:
    """Branches that change nothing that counts, so that there are more states to compare."""
    out = [
        f"if r6 s> {draw.pick((3, 100))} goto m{at}\nr9 = {draw.pick((0, at))}\nm{at}:"
        for at in range(draw.below(3))
    ]
    return "\n".join(["r9 = 0", *out])


def _values(draw: Draw, inside: bool, limit: int) -> list[int]:
    values = [draw.pick((0, limit, draw.between(0, limit))) for _ in range(draw.pick((2, 2, 3)))]
    if not inside:
        values[draw.below(len(values))] = limit + draw.pick((1, 8, 4096))
    return values


_INDEX = "r2 = map[values][0]+0\nr2 += r1\nr0 = *(u64 *)(r2 +0)\n"
_NUMBERS = f"{number('r6')}\n{number('r7', 3)}"


@RULES("join-register")
def _register(draw: Draw, inside: bool) -> Recipe:
    return Recipe(
        f"{_NUMBERS}\n{_ways(draw, 'r8 = {0}', _values(draw, inside, 56))}\n{_more(draw)}\nr1 = r8\n{_INDEX}exit"
    )


@RULES("join-spilled")
def _spilled(draw: Draw, inside: bool) -> Recipe:
    store = draw.pick(("*(u64 *)(r10 -8) = {0}", "r1 = {0}\n*(u64 *)(r10 -8) = r1"))
    return Recipe(
        f"{_NUMBERS}\n{_ways(draw, store, _values(draw, inside, 56))}\n{_more(draw)}\nr1 = *(u64 *)(r10 -8)\n{_INDEX}exit"
    )


@RULES("join-slot")
def _slot(draw: Draw, inside: bool) -> Recipe:
    store = draw.pick(("*(u64 *)(r11 -8) = {0}", "r1 = {0}\n*(u64 *)(r11 -8) = r1"))
    return Recipe(
        f"{_NUMBERS}\n{_ways(draw, store, _values(draw, inside, 56))}\n{arguments()}\ncall f\nexit",
        (f"static u64 f({letters(6)}):\nr1 = *(u64 *)(r11 +8)\n{_INDEX}exit",),
    )


@RULES("join-frame")
def _frame(draw: Draw, inside: bool) -> Recipe:
    """The number lies in the caller's stack, and the callee is given its address."""
    return Recipe(
        f"{_NUMBERS}\n{_ways(draw, '*(u64 *)(r10 -8) = {0}', _values(draw, inside, 56))}\n{_more(draw)}\nr1 = r10\nr1 += -8\ncall f\nexit",
        (f"static u64 f(u64 *p):\nr1 = *(u64 *)(r1 +0)\n{_INDEX}exit",),
    )


@RULES("join-branch")
def _branch(draw: Draw, inside: bool) -> Recipe:
    """Which way a branch behind the join goes depends on the constant; one way leads to what is forbidden."""
    good, bad = draw.pick(((1, 2), (0, 1), (5, 64)))
    values = [good, good + 100] if inside else [good, bad]
    place, load = draw.pick((("r8 = {0}", ""), ("*(u64 *)(r10 -8) = {0}", "r8 = *(u64 *)(r10 -8)\n")))
    if draw.chance(0.5):
        values.reverse()
    return Recipe(
        f"{_NUMBERS}\n{_ways(draw, place, values)}\n{_more(draw)}\n{load}if r8 == {bad} goto bad\nr0 = 0\nexit\nbad:\nr0 = *(u64 *)(r10 +0)\nexit"
    )


@RULES("join-loop")
def _loop(draw: Draw, inside: bool) -> Recipe:
    """An index that a loop moves on by a step that one of two ways has chosen."""
    steps = [1, 8] if inside else [1, draw.pick((12, 20, 40))]
    return Recipe(
        f"{_NUMBERS}\n{_ways(draw, 'r8 = {0}', steps)}\nr1 = 0\nr9 = 0\nagain:\nr1 += r8\nr9 += 1\nif r9 < {draw.pick((5, 7))} goto again\n{_INDEX}exit"
    )


@RULES("join-callee")
def _callee(draw: Draw, inside: bool) -> Recipe:
    """A function that is called on two ways with different arguments."""
    values = _values(draw, inside, 56)[:2]
    if not inside and max(values) <= 56:
        values[-1] = 57
    return Recipe(
        f"{_NUMBERS}\nif r6 > 9 goto other\nr1 = {values[0]}\ncall f\nexit\nother:\nr1 = {values[1]}\ncall f\nr0 += 1\nexit",
        (f"static u64 f(u64 a):\n{_INDEX}exit",),
    )


@RULES("join-result")
def _result(draw: Draw, inside: bool) -> Recipe:
    """What a function returns on its ways is an index."""
    values = _values(draw, inside, 56)[:2]
    if not inside and max(values) <= 56:
        values[0] = 60
    return Recipe(
        f"{number('r1')}\ncall f\nr1 = r0\n{_INDEX}exit",
        (
            f"static u64 f(u64 a):\nif r1 s< {draw.pick((0, 7))} goto other\nr0 = {values[0]}\nexit\nother:\nr0 = {values[1]}\nexit",
        ),
    )


@RULES("join-refined")
def _refined(draw: Draw, inside: bool) -> Recipe:
    """An index is good on one side of a branch only."""
    text = f"{_NUMBERS}\nr1 = r6\nif r1 > 56 goto other\n{_more(draw).replace('r9 = 0', 'r9 = 0', 1)}\n"
    if inside:
        return Recipe(f"{text}{_INDEX}exit\nother:\nr0 = 2\nexit")
    return Recipe(f"{text}goto use\nother:\nr9 = 3\nuse:\n{_INDEX}exit")
