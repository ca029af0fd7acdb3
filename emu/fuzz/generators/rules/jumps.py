"""Rules of indirect jumps: what a jump table may hold, how it may be read, where a gotox may lead."""

from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.rules.recipe import Recipe, Rules, number

RULES = Rules()

_FIRST = number("r6")
_WAYS = 4


def _place(text: str, label: str) -> int:
    """The number of the instruction behind a label: map addresses and 64-bit numbers take two."""
    at = 0
    for line in text.split("\n"):
        if line == f"{label}:":
            return at
        if line and not line.endswith(":"):
            at += 2 if "map[" in line or line.endswith(" ll") else 1
    raise KeyError(label)


def _index(bound: int) -> str:
    """r6, a number that nothing is known of, becomes the distance of one of bound + 1 entries."""
    return f"{_FIRST}\nr6 &= {bound}\nr6 <<= 3"


def _read(at: int = 0, off: int = 0, kind: str = "u64") -> str:
    """r7 = the entry that r6 chooses, counted from byte `at`, read with displacement `off`."""
    return f"r7 = map[jumps][0]+{at}\nr7 += r6\nr7 = *({kind} *)(r7 +{off})"


def _targets(draw: Draw, *, use: str = "") -> str:
    """Four ways, of which the last does `use`, too."""
    ways = [f"w{at}:\nr0 = {draw.imm() & 0xFFFF}\nexit" for at in range(_WAYS - 1)]
    return "\n".join([*ways, f"w{_WAYS - 1}:\nr0 = 1\n{use}".rstrip("\n"), "exit"])


def _made(text: str, *labels: str, more: tuple[int, ...] = (), thawed: bool = False) -> Recipe:
    entries = (*(_place(text, label) for label in labels), *more)
    return Recipe(text, maps=("values",), jumps=entries, thawed=thawed)


_ALL = tuple(f"w{at}" for at in range(_WAYS))


@RULES("jump-frozen")
def _frozen(draw: Draw, inside: bool) -> Recipe:
    """User space may not change the table any more."""
    return _made(f"{_index(3)}\n{_read()}\ngotox r7\n{_targets(draw)}", *_ALL, thawed=not inside)


@RULES("jump-program")
def _program(draw: Draw, inside: bool) -> Recipe:
    """Every entry names an instruction, whether anything jumps there or not."""
    text = f"{_index(3)}\n{_read()}\ngotox r7\n{_targets(draw, use='r1 = 0x123456789 ll')}"
    wrong = draw.pick((_place(text, "w3") + 2, 1000, 0x7FFFFFFF))
    return _made(text, *_ALL, more=(_place(text, "w2"),) if inside else (wrong,))


@RULES("jump-range")
def _range(draw: Draw, inside: bool) -> Recipe:
    """The index chooses an entry that is there."""
    bound, at = draw.pick(((3, 0), (1, 16), (1, 8), (1, 0)))
    over = 0 if inside else draw.pick((8 * _WAYS, 8 * (_WAYS - bound) - at, 64))
    place = draw.below(2) * at
    text = f"{_index(bound)}\n{_read(place, at - place + over)}\ngotox r7\n{_targets(draw)}"
    return _made(text, *_ALL)


@RULES("jump-type")
def _type(draw: Draw, inside: bool) -> Recipe:
    """The register holds what a jump table held, as it was, or spilled and filled."""
    spilled = "*(u64 *)(r10 -8) = r7\nr7 = *(u64 *)(r10 -8)"
    other = draw.pick(("r7 = r6", "r7 = map[jumps][0]+8", "r7 = r10", "r7 += 8", "r7 -= r6", "w7 = w7"))
    change = draw.pick(("r8 = r7\nr7 = r8", spilled, "r6 = 1")) if inside else other
    return _made(f"{_index(3)}\n{_read()}\n{change}\ngotox r7\n{_targets(draw)}", *_ALL)


@RULES("jump-read")
def _size(draw: Draw, inside: bool) -> Recipe:
    """Entries are read whole."""
    kind, off = (
        ("u64", draw.pick((0, 8))) if inside else draw.pick((("u32", 0), ("u8", 8), ("u16", 0), ("u64", 4)))
    )
    return _made(f"{_index(1)}\n{_read(0, off, kind)}\ngotox r7\n{_targets(draw)}", *_ALL)


@RULES("jump-written")
def _written(draw: Draw, inside: bool) -> Recipe:
    """No program writes to a table."""
    name = "values" if inside else "jumps"
    store = draw.pick(("*(u64 *)(r8 +8) = 1", "*(u64 *)(r8 +0) = r6"))
    text = f"{_index(3)}\n{_read()}\nr8 = map[{name}][0]+0\n{store}\ngotox r7\n{_targets(draw)}"
    return _made(text, *_ALL)


@RULES("jump-offset")
def _offset(draw: Draw, inside: bool) -> Recipe:
    """The address of an entry, not of anything between or behind."""
    at = draw.pick((0, 8, 16, 24)) if inside else draw.pick((4, 1, 32, 40, 48, 64, 100))
    text = f"r6 = 0\n{_read(at)}\ngotox r7\n{_targets(draw)}"
    return _made(text, *_ALL)


@RULES("jump-function")
def _function(draw: Draw, inside: bool) -> Recipe:
    """A gotox stays in its function."""
    text = f"{_index(3)}\n{_read()}\ngotox r7\n{_targets(draw, use='call f')}"
    callee = "static u64 f(void):\nr0 = 5\nr0 = 6\nexit"
    other = _place(text, "w2") if inside else _place(f"{text}\nend:", "end") + draw.below(3)
    made = _made(text, *_ALL, more=(other,))
    return Recipe(made.main, (callee,), jumps=made.jumps)


@RULES("jump-table")
def _table(draw: Draw, inside: bool) -> Recipe:
    """Without a table there is nowhere to go."""
    read = _read() if inside else "r7 = 8"
    text = (
        f"{_index(3)}\n{read}\ngotox r7\n{_targets(draw)}"
        if inside
        else f"{_index(3)}\n{read}\ngotox r7\nexit"
    )
    return _made(text, *_ALL) if inside else Recipe(text)


@RULES("jump-ways")
def _ways(draw: Draw, inside: bool) -> Recipe:
    """What one of the ways needs must hold wherever the index leads there; entries that it cannot choose need nothing."""
    bound = 1 if inside else 3
    use = draw.pick(
        ("r8 = r5", "r0 += r8", "*(u64 *)(r6 +0) = 1", "r0 = *(u64 *)(r10 -8)\nr1 = r0\nr1 = *(u8 *)(r1 +0)")
    )
    text = f"{_index(bound)}\n{_read()}\ngotox r7\n{_targets(draw, use=use)}"
    return _made(text, *_ALL)
