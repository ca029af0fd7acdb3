"""Rules of memory: map values, packets, the context, null, and arithmetic on pointers."""

from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.rules.recipe import Recipe, Rules, number

RULES = Rules()
_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
_VALUE = 64
_LOOK_UP = "*(u32 *)(r10 -4) = {key}\nr2 = r10\nr2 += -4\nr1 = map[{name}]\ncall bpf_map_lookup_elem\n"


def look_up(draw: Draw, *, sure: bool = True) -> str:
    """r0 = the address of an element, or NULL. sure: it may be one that is always there, which needs no check."""
    name = draw.pick(("values", "table"))
    key = draw.pick((0, 0, 1, 5)) if sure or name == "table" else draw.pick((1, 5))
    return _LOOK_UP.format(key=key, name=name)


def _access(draw: Draw, kind: str, base: str, off: int) -> str:
    return draw.pick(
        (
            f"r0 = *({kind} *)({base} {off:+d})",
            f"r0 = 5\n*({kind} *)({base} {off:+d}) = r0",
            f"*({kind} *)({base} {off:+d}) = 3\nr0 = 1",
        )
    )


@RULES("value-end")
def _end(draw: Draw, inside: bool) -> Recipe:
    kind = draw.pick(tuple(_SIZES))
    off = (
        draw.pick((0, _VALUE - _SIZES[kind]))
        if inside
        else draw.pick((_VALUE - _SIZES[kind] + 1, _VALUE, -1, -_SIZES[kind], 4096))
    )
    return Recipe(f"r6 = map[values][0]+0\n{_access(draw, kind, 'r6', off)}\nexit")


@RULES("value-moved")
def _moved(draw: Draw, inside: bool) -> Recipe:
    """A pointer that was moved and an offset that moves it back."""
    kind, move = draw.pick(tuple(_SIZES)), draw.pick((1, 8, 63, 64, 1000))
    last = _VALUE - _SIZES[kind]
    off = (draw.pick((0, last)) if inside else draw.pick((-1, last + 1))) - move
    return Recipe(f"r6 = map[values][0]+0\nr6 += {move}\n{_access(draw, kind, 'r6', off)}\nexit")


@RULES("value-index")
def _index(draw: Draw, inside: bool) -> Recipe:
    """An index that was compared, in every way there is."""
    kind = draw.pick(tuple(_SIZES))
    last = _VALUE - _SIZES[kind] + (0 if inside else draw.pick((1, 7)))
    test = draw.pick(
        (
            f"if r1 > {last} goto out",
            f"if r1 >= {last + 1} goto out",
            f"if r1 < {last + 1} goto in\ngoto out\nin:",
            f"if r1 <= {last} goto in\ngoto out\nin:",
        )
    )
    narrow = draw.chance(0.3)
    if narrow:
        test = "w1 = w1\n" + test.replace("r1", "w1")
    return Recipe(
        f"{number('r1')}\n{test}\nr6 = map[values][0]+0\nr6 += r1\n{_access(draw, kind, 'r6', 0)}\nexit\nout:\nr0 = 0\nexit"
    )


@RULES("value-index-signed")
def _index_signed(draw: Draw, inside: bool) -> Recipe:
    low = "if r1 s< 0 goto out\n" if inside else draw.pick(("", "if r1 s< -1 goto out\n"))
    return Recipe(
        f"{number('r1')}\n{low}if r1 s> {draw.pick((7, 56))} goto out\nr6 = map[values][0]+0\nr6 += r1\n{_access(draw, 'u64', 'r6', 0)}\nexit\nout:\nr0 = 0\nexit"
    )


@RULES("value-index-mask")
def _index_mask(draw: Draw, inside: bool) -> Recipe:
    kind = draw.pick(("u8", "u32", "u64"))
    mask = (_VALUE - _SIZES[kind]) & draw.pick((63, 31, 56)) if inside else draw.pick((127, 64, 255))
    make = draw.pick((f"r1 &= {mask}", f"w1 &= {mask}", f"r1 %= {mask + 1}"))
    return Recipe(
        f"{number('r1')}\n{make}\nr6 = map[values][0]+0\nr6 += r1\n{_access(draw, kind, 'r6', 0)}\nexit"
    )


@RULES("value-index-shift")
def _index_shift(draw: Draw, inside: bool) -> Recipe:
    bits = draw.pick((58, 59, 60)) if inside else draw.pick((57, 32))
    return Recipe(
        f"{number('r1')}\nr1 >>= {bits}\nr6 = map[values][0]+0\nr6 += r1\nr0 = *(u8 *)(r6 +0)\nexit"
    )


@RULES("value-index-sum")
def _index_sum(draw: Draw, inside: bool) -> Recipe:
    """Two indices, and the constant offset of the access."""
    one, other = 31, 15
    off = draw.pick((0, _VALUE - 1 - one - other)) if inside else draw.pick((_VALUE - one - other, 40))
    how = draw.pick(("r6 += r1\nr6 += r2", "r1 += r2\nr6 += r1", "r6 += r2\nr6 += r1"))
    return Recipe(
        f"{number('r1')}\n{number('r2', 2)}\nr1 &= {one}\nr2 &= {other}\nr6 = map[values][0]+0\n{how}\nr0 = *(u8 *)(r6 +{off})\nexit"
    )


@RULES("value-index-lost")
def _index_lost(draw: Draw, inside: bool) -> Recipe:
    """A bound is lost by arithmetic behind the check."""
    change = (
        ""
        if inside
        else draw.pick(("r1 += 60\n", "r1 *= 3\n", "r1 <<= 2\n", "r1 = -r1\n", "r1 ^= -1\n", "r1 |= 64\n"))
    )
    return Recipe(
        f"{number('r1')}\nif r1 > 56 goto out\n{change}r6 = map[values][0]+0\nr6 += r1\nr0 = *(u64 *)(r6 +0)\nexit\nout:\nr0 = 0\nexit"
    )


@RULES("null-check")
def _null(draw: Draw, inside: bool) -> Recipe:
    check = draw.pick(("if r0 == 0 goto out\n", "if r0 != 0 goto in\ngoto out\nin:\n"))
    if not inside:
        check = draw.pick(
            (
                "",
                "if r0 == 1 goto out\n",
                "if r0 != 0 goto out\n",
                "if r0 > 5 goto in\ngoto out\nin:\n",
                "if w0 == 0 goto out\n",
            )
        )
    return Recipe(
        f"{look_up(draw, sure=inside)}{check}r6 = r0\n{_access(draw, 'u64', 'r6', 8)}\nexit\nout:\nr0 = 0\nexit",
        maps=("values", "table"),
    )


@RULES("null-copy")
def _null_copy(draw: Draw, inside: bool) -> Recipe:
    """A copy of what is checked is checked; what another look-up gave is not."""
    second = look_up(draw, sure=inside)
    if inside:
        keep, check = draw.pick(
            (("r6 = r0\n", "r0"), ("r6 = r0\n", "r6"), ("*(u64 *)(r10 -16) = r0\nr6 = 0\n", "r0"))
        )
        load = "r6 = *(u64 *)(r10 -16)\n" if "r10" in keep else ""
        return Recipe(
            f"{look_up(draw)}{keep}if {check} == 0 goto out\n{load}r0 = *(u64 *)(r6 +0)\nexit\nout:\nr0 = 0\nexit",
            maps=("values", "table"),
        )
    return Recipe(
        f"{look_up(draw, sure=False)}r6 = r0\n{second}if r0 == 0 goto out\nr0 = *(u64 *)(r6 +0)\nexit\nout:\nr0 = 0\nexit",
        maps=("values", "table"),
    )


@RULES("null-arithmetic")
def _null_arithmetic(draw: Draw, inside: bool) -> Recipe:
    check = "if r0 == 0 goto out\n"
    add = f"r0 += {draw.pick((8, 16))}\n"
    return Recipe(
        f"{look_up(draw, sure=False)}{check + add if inside else add + check}r0 = *(u64 *)(r0 +0)\nexit\nout:\nr0 = 0\nexit",
        maps=("values", "table"),
    )


@RULES("packet-end")
def _packet(draw: Draw, inside: bool) -> Recipe:
    """data + n against data_end, with every compare; an access up to n, or one byte further."""
    kind = draw.pick(tuple(_SIZES))
    room = draw.pick((8, 14, 20))
    off = room - _SIZES[kind] + (0 if inside else draw.pick((1, 4)))
    xdp = draw.chance(0.4)
    data, end = (0, 4) if xdp else (76, 80)
    good = draw.pick(
        (
            "if r8 > r7 goto out",
            "if r8 <= r7 goto in\ngoto out\nin:",
            "if r7 >= r8 goto in\ngoto out\nin:",
            "if r7 < r8 goto out",
        )
    )
    # strictly below the end there is one byte more
    if not inside and draw.chance(0.3):
        off, good = (
            room - _SIZES[kind],
            draw.pick(("if r8 < r7 goto out", "if r8 == r7 goto out", "if r8 != r7 goto out")),
        )
    elif draw.chance(0.2):
        off, good = off + 1, draw.pick(("if r8 >= r7 goto out", "if r8 < r7 goto in\ngoto out\nin:"))
    return Recipe(
        f"r6 = *(u32 *)(r1 +{data})\nr7 = *(u32 *)(r1 +{end})\nr8 = r6\nr8 += {room}\n{good}\n{_access(draw, kind, 'r6', off)}\nexit\nout:\nr0 = 0\nexit",
        prog_type="xdp" if xdp else "sched_cls",
    )  # fmt: skip


@RULES("packet-variable")
def _packet_variable(draw: Draw, inside: bool) -> Recipe:
    mask = draw.pick((7, 15, 31))
    first, second = "r6 += r1\n", "r8 = r6\nr8 += 4\nif r8 > r7 goto out\n"
    return Recipe(
        f"r9 = r1\n{number('r1')}\nr1 &= {mask}\nr6 = *(u32 *)(r9 +76)\nr7 = *(u32 *)(r9 +80)\n{first + second if inside else second + first}"
        "r0 = *(u32 *)(r6 +0)\nexit\nout:\nr0 = 0\nexit"
    )


@RULES("packet-moved")
def _packet_moved(draw: Draw, inside: bool) -> Recipe:
    pull = draw.pick(
        ("r1 = r9\nr2 = 0\ncall bpf_skb_pull_data\n", "r1 = r9\nr2 = 60\nr3 = 0\ncall bpf_skb_change_tail\n")
    )
    get = "r6 = *(u32 *)(r9 +76)\nr7 = *(u32 *)(r9 +80)\nr8 = r6\nr8 += 14\nif r8 > r7 goto out\n"
    return Recipe(
        f"r9 = r1\n{pull + get if inside else get + pull}r0 = *(u8 *)(r6 +{draw.below(14)})\nexit\nout:\nr0 = 0\nexit"
    )


@RULES("context-read")
def _context(draw: Draw, inside: bool) -> Recipe:
    good = ("u32 *)(r1 +8", "u32 *)(r1 +0", "u32 *)(r1 +48", "u16 *)(r1 +8", "u8 *)(r1 +9", "u32 *)(r1 +64")
    bad = (
        "u64 *)(r1 +0",
        "u32 *)(r1 +192",
        "u32 *)(r1 -4",
        "u32 *)(r1 +2",
        "u16 *)(r1 +76",
        "u32 *)(r1 +168",
        "u32 *)(r1 +300",
        "u64 *)(r1 +4",
    )
    return Recipe(f"r0 = *({draw.pick(good if inside else bad)})\nexit", quiet=True)


@RULES("context-write")
def _context_write(draw: Draw, inside: bool) -> Recipe:
    off = draw.pick((8, 32, 48, 64)) if inside else draw.pick((0, 4, 16, 68, 76, 80, 36, 192))
    return Recipe(f"r2 = {draw.pick((0, 7, 99))}\n*(u32 *)(r1 +{off}) = r2\nr0 = 0\nexit", quiet=True)


@RULES("context-moved")
def _context_moved(draw: Draw, inside: bool) -> Recipe:
    if inside:
        return Recipe("r6 = r1\nr0 = *(u32 *)(r6 +8)\nexit")
    move = draw.pick(("r1 += 4", "r2 = 4\nr1 += r2", "r1 -= 8"))
    return Recipe(
        f"{move}\nr0 = *(u32 *)(r1 {draw.pick(('+4', '+8', '-4'))})\nexit",
        quiet=True,
    )


@RULES("context-syscall")
def _context_syscall(draw: Draw, inside: bool) -> Recipe:
    mask = draw.pick((7, 56)) if inside else draw.pick((-1, 0x7FFFFFFF))
    bound = f"r2 &= {mask}\n" if inside else ""
    return Recipe(
        f"r2 = *(u64 *)(r1 +0)\n{bound}r1 += r2\nr0 = *(u8 *)(r1 +0)\nexit", prog_type="syscall", quiet=True
    )


@RULES("pointer-arithmetic")
def _arithmetic(draw: Draw, inside: bool) -> Recipe:
    good = ("r6 += 8", "r6 -= 8\nr6 += 16", "r1 = 8\nr6 += r1", "r1 = 8\nr1 += r6\nr6 = r1", "r6 += 0")
    bad = (
        "r6 *= 2",
        "r6 &= -8",
        "r6 |= 1",
        "w6 += 8",
        "r6 <<= 1",
        "r6 = -r6",
        "r1 = r6\nr6 += r1",
        "r6 ^= 1",
        "r6 /= 2",
        "r6 = be64 r6",
        "r1 = 8\nr1 -= r6\nr6 = r1",
    )
    return Recipe(f"r6 = map[values][0]+0\n{draw.pick(good if inside else bad)}\nr0 = *(u64 *)(r6 +0)\nexit")


@RULES("pointer-far")
def _far(draw: Draw, inside: bool) -> Recipe:
    far = draw.pick((1000, (1 << 28))) if inside else draw.pick((1 << 30, 0x7FFFFFFF))
    return Recipe(f"r6 = map[values][0]+0\nr6 += {far}\nr6 -= {far}\nr0 = *(u64 *)(r6 +0)\nexit")


@RULES("pointer-kind")
def _kind(draw: Draw, inside: bool) -> Recipe:
    """Memory is reached through pointers to memory."""
    bad = ("r6 = map[values]", "r6 = 4096", "r6 = subprog[f]", "r6 = r1\nr6 = *(u32 *)(r6 +80)", number("r6"))
    get = "r6 = map[values][0]+8" if inside else draw.pick(bad)
    store = "*(u64 *)(r6 +0) = 1\n" if inside or draw.chance(0.5) else "r0 = *(u64 *)(r6 +0)\n"
    return Recipe(f"{get}\n{store}call f\nexit", ("static u64 f():\nr0 = 1\nexit",))


@RULES("pointer-join")
def _join(draw: Draw, inside: bool) -> Recipe:
    """Two ways that bring different pointers, or a pointer and a number, to one access."""
    other = "r6 = r10\nr6 += -8" if inside else draw.pick(("r6 = r1", "r6 = 7", "r6 = r9"))
    return Recipe(
        f"r9 = r1\n*(u64 *)(r10 -8) = 4\n{number('r1')}\nif r1 > 100 goto other\nr6 = map[values][0]+8\ngoto join\nother:\n{other}\njoin:\nr0 = *(u64 *)(r6 +0)\nexit"
    )


@RULES("atomic-place")
def _atomic(draw: Draw, inside: bool) -> Recipe:
    line = draw.pick(("lock *({} *)(r6 {:+d}) += r2", "r2 = atomic{}_fetch_add(({} *)(r6 {:+d}), r2)"))
    kind = draw.pick(("u32", "u64"))
    size = _SIZES[kind]
    off = draw.pick((0, _VALUE - size)) if inside else draw.pick((1, 2, size // 2, _VALUE, -size))
    text = line.format(kind, off) if "lock" in line else f"lock *({kind} *)(r6 {off:+d}) |= r2"
    return Recipe(f"r6 = map[values][0]+0\nr2 = 5\n{text}\nr0 = r2\nexit")


@RULES("atomic-context")
def _atomic_context(draw: Draw, inside: bool) -> Recipe:
    base = "r6 = map[values][0]+8" if inside else "r6 = r1"
    op = draw.pick(("+=", "|=", "&=", "^="))
    return Recipe(f"{base}\nr2 = 5\nlock *(u32 *)(r6 +8) {op} r2\nr0 = 0\nexit", quiet=True)


@RULES("value-index-least")
def _index_least(draw: Draw, inside: bool) -> Recipe:
    """The least and the largest offset that an index and a constant make together."""
    mask = draw.pick((7, 15, 31))
    off = draw.pick((0, _VALUE - 1 - mask)) if inside else draw.pick((_VALUE - mask, -1))
    return Recipe(
        f"{number('r6')}\nr6 &= {mask}\nr1 = map[values][0]+0\nr1 += r6\nr0 = *(u8 *)(r1 {off:+d})\nexit"
    )


@RULES("value-missing")
def _missing(draw: Draw, inside: bool) -> Recipe:
    """Whether an element is there: what depends on it is on the two ways of the check."""
    key = draw.pick((0, 1, 2, 5))
    name = draw.pick(("values", "table")) if key else "table"
    look = _LOOK_UP.format(key=key, name=name)
    use = "r6 = 2" if inside else "r6 = *(u64 *)(r0 +0)"
    return Recipe(
        f"{look}r6 = 1\nif r0 == 0 goto out\nr6 = 3\ngoto end\nout:\n{use}\nend:\nr0 = r6\nexit",
        maps=("values", "table"),
    )
