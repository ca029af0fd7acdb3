"""Rules of the stack: bounds, alignment, depth, what is spilled and what is filled."""

from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.rules.recipe import Recipe, Rules, number

RULES = Rules()
_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


@RULES("stack-low")
def _low(draw: Draw, inside: bool) -> Recipe:
    kind = draw.pick(tuple(_SIZES))
    off = 512 if inside else draw.pick((512 + _SIZES[kind], 520, 1024))
    access = draw.pick((f"*({kind} *)(r10 -{off}) = 7", f"r3 = 5\n*({kind} *)(r10 -{off}) = r3"))
    return Recipe(f"{access}\nr0 = 0\nexit")


@RULES("stack-high")
def _high(draw: Draw, inside: bool) -> Recipe:
    kind = draw.pick(tuple(_SIZES))
    size = _SIZES[kind]
    off = -size if inside else draw.pick((0, size, 8))
    return Recipe(f"*({kind} *)(r10 {off:+d}) = 7\nr0 = 0\nexit")


@RULES("stack-alignment")
def _alignment(draw: Draw, inside: bool) -> Recipe:
    kind = draw.pick(("u16", "u32", "u64"))
    size = _SIZES[kind]
    off = size * draw.between(2, 6) + (0 if inside else draw.between(1, size - 1))
    return Recipe(f"r3 = 9\n*({kind} *)(r10 -{off}) = r3\nr0 = *({kind} *)(r10 -{off})\nexit")


@RULES("stack-variable")
def _variable(draw: Draw, inside: bool) -> Recipe:
    kind = draw.pick(("u8", "u32", "u64"))
    size, room = _SIZES[kind], 64
    fills = "\n".join(f"*(u64 *)(r10 -{8 * at}) = {at}" for at in range(1, 9))
    align = -size  # the known low bits
    mask = (63 & align) if inside else draw.pick((127 & align, 255 & align))
    access = draw.pick((f"*({kind} *)(r2 +0) = 3", f"r3 = *({kind} *)(r2 +0)"))
    return Recipe(
        f"{number('r1')}\nr1 &= {mask}\n{fills}\nr2 = r10\nr2 += -{room}\nr2 += r1\n{access}\nr0 = 0\nexit"
    )


@RULES("stack-variable-low")
def _variable_low(draw: Draw, inside: bool) -> Recipe:
    room = 512 if inside else draw.pick((520, 516, 513))
    return Recipe(
        f"{number('r1')}\nr1 &= 7\nr2 = r10\nr2 += -{room}\nr2 += r1\n*(u8 *)(r2 +0) = 3\n*(u64 *)(r10 -8) = 1\nr0 = 0\nexit"
    )


@RULES("stack-variable-signed")
def _variable_signed(draw: Draw, inside: bool) -> Recipe:
    limit = draw.pick((7, 15, 31))
    low = "if r1 s< 0 goto out\n" if inside else ""
    fills = "\n".join(f"*(u64 *)(r10 -{8 * at}) = {at}" for at in range(1, 9))
    return Recipe(
        f"{number('r1')}\n{fills}\n{low}if r1 s> {limit} goto out\nr2 = r10\nr2 += -64\nr2 += r1\n*(u8 *)(r2 +0) = 3\nout:\nr0 = 0\nexit"
    )


@RULES("stack-combined")
def _combined(draw: Draw, inside: bool) -> Recipe:
    one = draw.pick((8, 64, 128, 256, 400, 480, 496))
    rounded = -(-one // 16) * 16
    other = 512 - rounded if inside else 512 - rounded + draw.pick((1, 8, 16))
    return Recipe(
        f"*(u8 *)(r10 -{one}) = 1\ncall f\nexit",
        (f"static u64 f():\n*(u8 *)(r10 -{other}) = 2\nr0 = 0\nexit",),
    )


@RULES("stack-combined-callback")
def _combined_callback(draw: Draw, inside: bool) -> Recipe:
    one = draw.pick((64, 256))
    other = 512 - one if inside else 512 - one + draw.pick((1, 16))
    main = f"*(u8 *)(r10 -{one}) = 1\nr1 = 2\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit"
    return Recipe(main, (f"static long f(u32 i, void *c):\n*(u8 *)(r10 -{other}) = 2\nr0 = 0\nexit",))


@RULES("call-frames")
def _frames(draw: Draw, inside: bool) -> Recipe:
    depth = 15 if inside else 16
    more = draw.chance(0.3)
    functions = [
        f"static u64 f{at}(u64 a):\n"
        + (f"call f{at + 1}\n" if at < depth else "r0 = r1\n")
        + ("r0 += 1\n" if more else "")
        + "exit"
        for at in range(1, depth + 1)
    ]
    return Recipe("r1 = 5\ncall f1\nexit", tuple(functions))


@RULES("spill-pointer")
def _spill_pointer(draw: Draw, inside: bool) -> Recipe:
    harm = (
        ""
        if inside
        else draw.pick(("*(u8 *)(r10 -3) = 0\n", "*(u32 *)(r10 -8) = 0\n", "*(u16 *)(r10 -2) = 5\n"))
    )
    other = "*(u8 *)(r10 -9) = 1\n" if draw.chance(0.5) else ""
    return Recipe(
        f"r2 = map[values][0]+0\n*(u64 *)(r10 -8) = r2\n{other}{harm}r3 = *(u64 *)(r10 -8)\nr0 = *(u64 *)(r3 +0)\nexit"
    )


@RULES("spill-narrow")
def _spill_narrow(draw: Draw, inside: bool) -> Recipe:
    """A bounded number is spilled; a narrow store changes a part of it, and what is loaded then is no longer bounded."""
    bound = draw.pick((15, 31))
    harm = (
        ""
        if inside
        else draw.pick(("*(u8 *)(r10 -7) = r6\n", "*(u16 *)(r10 -6) = r6\n", "*(u32 *)(r10 -4) = r6\n"))
    )
    load = draw.pick(("r1 = *(u64 *)(r10 -8)", "r1 = *(u64 *)(r10 -8)\nr1 += 0"))
    return Recipe(
        f"{number('r6')}\nr1 = r6\nr1 &= {bound}\n*(u64 *)(r10 -8) = r1\n{harm}{load}\nr2 = map[values][0]+0\nr2 += r1\nr0 = *(u8 *)(r2 +0)\nexit"
    )


@RULES("spill-helper")
def _spill_helper(draw: Draw, inside: bool) -> Recipe:
    """A helper writes over what is spilled, or just beside it."""
    off = draw.pick((24, 16)) if inside else 8
    size = draw.pick((1, 4, 8))
    what = draw.pick(("r7 &= 31", "r7 &= 7"))
    return Recipe(
        f"r6 = r1\n{number('r7')}\n{what}\n*(u64 *)(r10 -8) = r7\n*(u64 *)(r10 -24) = 0\n*(u64 *)(r10 -16) = 0\n"
        f"r1 = r6\nr2 = 0\nr3 = r10\nr3 += -{off}\nr4 = {size}\ncall bpf_skb_load_bytes\n"
        "r1 = *(u64 *)(r10 -8)\nr2 = map[values][0]+0\nr2 += r1\nr0 = *(u8 *)(r2 +0)\nexit"
    )


@RULES("spill-helper-pointer")
def _spill_helper_pointer(draw: Draw, inside: bool) -> Recipe:
    off = draw.pick((24, 16)) if inside else draw.pick((8, 12))
    size = 8 if not inside else draw.pick((4, 8))
    return Recipe(
        "r6 = r1\nr7 = map[values][0]+0\n*(u64 *)(r10 -8) = r7\n*(u64 *)(r10 -24) = 0\n*(u64 *)(r10 -16) = 0\n"
        f"r1 = r6\nr2 = 0\nr3 = r10\nr3 += -{off}\nr4 = {size}\ncall bpf_skb_load_bytes\n"
        "r1 = *(u64 *)(r10 -8)\nr0 = *(u64 *)(r1 +0)\nexit"
    )


@RULES("caller-slot")
def _caller_slot(draw: Draw, inside: bool) -> Recipe:
    """A callee writes into the caller's stack; what the caller loads then is an index."""
    low, high = draw.between(0, 56), 56 if inside else draw.pick((57, 60, 64, 4096))
    callee = (
        f"static u64 f(u64 *p, u64 n):\nif r2 > {draw.pick((0, 7, 255))} goto other\n*(u64 *)(r1 +0) = {low}\nr0 = 0\nexit\n"
        f"other:\n*(u64 *)(r1 +0) = {high}\nr0 = 0\nexit"
    )
    return Recipe(
        f"{number('r2')}\n*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\ncall f\nr1 = *(u64 *)(r10 -8)\nr2 = map[values][0]+0\nr2 += r1\n"
        "r0 = *(u64 *)(r2 +0)\nexit",
        (callee,),
    )


@RULES("stack-misaligned")
def _misaligned(draw: Draw, inside: bool) -> Recipe:
    """A store across two words, beside values that are loaded again."""
    off = 16 if inside else draw.pick((12, 14, 15, 20))
    return Recipe(
        f"r6 = 7\n*(u64 *)(r10 -8) = r6\n*(u64 *)(r10 -16) = 9\n*(u64 *)(r10 -24) = 3\n*(u64 *)(r10 -{off}) = r6\nr0 = *(u64 *)(r10 -8)\nr1 = *(u64 *)(r10 -16)\nr0 += r1\nexit"
    )


@RULES("stack-variable-deepest")
def _variable_deepest(draw: Draw, inside: bool) -> Recipe:
    """The deepest access has a variable offset; below it lie saved registers."""
    depth = draw.pick((8, 16, 64))
    mask = draw.pick((7, depth - 1)) if inside else 2 * depth - 1
    values = "\n".join(f"r{reg} = {reg}" for reg in (7, 8, 9))
    back = "call f\nr0 += r7\nr0 += r8\nr0 += r9\nexit"
    callee = f"static u64 f():\n{number('r6')}\nr6 &= {mask}\nr7 = 1\nr8 = 2\nr9 = 3\nr1 = r10\nr1 += -{depth}\nr1 += r6\n*(u8 *)(r1 +0) = 5\nr0 = 0\nexit"
    return Recipe(f"{values}\n{back}", (callee,))
