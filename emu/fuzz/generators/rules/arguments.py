"""Rules of arguments on the stack: which are stored, loaded, how many, in what shape, in what order; kfuncs and their memory."""

from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.rules.recipe import Recipe, Rules, arguments, function, letters, number, slots

RULES = Rules()


@RULES("slot-missing")
def _missing(draw: Draw, inside: bool) -> Recipe:
    count = draw.between(6, 12)
    gap = -1 if inside else draw.pick((0, count - 6, draw.below(count - 5)))
    callee = f"okf_sum{count}" if draw.chance(0.4) else "f"
    return Recipe(
        f"{slots(count - 5, gap)}\n{arguments()}\ncall {callee}\nexit",
        (function(count),) if callee == "f" else (),
    )


@RULES("slot-again")
def _again(draw: Draw, inside: bool) -> Recipe:
    count = draw.between(6, 12)
    between = (
        slots(count - 5)
        if inside
        else slots(count - 5, draw.below(count - 5))
        if draw.chance(0.5) and count > 6
        else ""
    )
    callee = draw.pick((f"okf_sum{count}", "f"))
    call = f"{arguments()}\ncall {callee}\n"
    return Recipe(
        f"{slots(count - 5)}\n{call}{between}\n{call}exit", (function(count),) if callee == "f" else ()
    )


@RULES("slot-lost")
def _lost(draw: Draw, inside: bool) -> Recipe:
    """Any call in between takes the stored arguments away."""
    count = draw.between(6, 12)
    call = draw.pick(("call bpf_ktime_get_ns", "call okf_count", "call g"))
    store = slots(count - 5)
    first = f"{call}\n{store}" if inside else f"{store}\n{call}"
    other = "static u64 g():\nr0 = 3\nexit"
    return Recipe(f"{first}\n{arguments()}\ncall f\ncall g\nexit", (function(count), other))


@RULES("slot-branch")
def _branch(draw: Draw, inside: bool) -> Recipe:
    """Two ways to a call, of which one leaves a slot out."""
    count = draw.between(6, 12)
    slot = draw.below(count - 5)
    store = f"*(u64 *)(r11 -{8 * (slot + 1)}) = 99\n"
    return Recipe(
        f"{number('r6')}\n{slots(count - 5, slot)}\nif r6 s> {draw.pick((0, -1, 100))} goto other\n{store}goto join\n"
        f"other:\n{store if inside else ''}r7 = 1\njoin:\n{arguments()}\ncall f\nexit",
        (function(count),),
    )


@RULES("slot-unused")
def _unused(draw: Draw, inside: bool) -> Recipe:
    count = draw.between(6, 11)
    extra = 0 if inside else draw.between(1, 12 - count)
    return Recipe(f"{slots(count - 5 + extra)}\n{arguments()}\ncall f\nexit", (function(count),))


@RULES("slot-shape")
def _shape(draw: Draw, inside: bool) -> Recipe:
    store = "*(u64 *)(r11 -8) = 6"
    wrong = (
        "*(u32 *)(r11 -8) = 6", "*(u8 *)(r11 -8) = 6", "*(u64 *)(r11 -12) = 6", "*(u64 *)(r11 +0) = 6", "*(u64 *)(r11 +8) = 6",
        "*(u64 *)(r11 -64) = 6", "*(u64 *)(r11 -80) = 6", "r11 += 1", "r11 = 5", "r3 = r11", "r10 = r11", "*(u64 *)(r10 -8) = r11",
        "lock *(u64 *)(r11 -8) += r1", "r3 = *(u64 *)(r11 -8)", "r3 = *(u32 *)(r11 +8)", "r3 = *(s32 *)(r11 +8)", "r3 = *(u64 *)(r11 +12)",
        "if r11 == 0 goto +0", "r11 = 7 ll", "r3 = *(u64 *)(r12 +8)", "*(u64 *)(r13 -8) = 1",
    )  # fmt: skip
    return Recipe(
        f"r6 = r1\n{store}\n{'' if inside else draw.pick(wrong)}\n{arguments()}\ncall f\nexit",
        (function(6),),
        quiet=True,
    )


@RULES("argument-order")
def _order(draw: Draw, inside: bool) -> Recipe:
    """Incoming arguments are loaded before anything is stored or called."""
    count = draw.between(6, 12)
    load = f"r9 = *(u64 *)(r11 +{8 * draw.between(1, count - 5)})\n"
    then = draw.pick(("*(u64 *)(r11 -8) = r1\n", "call bpf_ktime_get_ns\n", "call okf_count\n", "call g\n"))
    tail = f"*(u64 *)(r11 -8) = 1\n{arguments()}\ncall okf_sum6\nr0 = r9\nexit"
    body = load + then + tail if inside else then + load + tail
    return Recipe(
        f"{slots(count - 5)}\n{arguments()}\ncall f\ncall g\nexit",
        (f"static u64 f({letters(count)}):\n{body}", "static u64 g():\nr0 = 1\nexit"),
    )


@RULES("argument-order-path")
def _order_path(draw: Draw, inside: bool) -> Recipe:
    """One of two ways to a load has a call in it."""
    count = draw.between(6, 12)
    call = "call bpf_get_prandom_u32\n"
    test = draw.pick(("if r1 s> 0 goto join\n", "if r1 == 1 goto join\n", "if w2 > 7 goto join\n"))
    body = (
        f"r0 = 0\nr6 = 0\n{test}{'r6 = 1' if inside else call}\njoin:\nr9 = *(u64 *)(r11 +8)\nr0 = r9\nexit"
    )
    return Recipe(
        f"{slots(count - 5)}\n{number('r1')}\nr2 = r1\nr3 = 3\nr4 = 4\nr5 = 5\ncall f\nexit",
        (f"static u64 f({letters(count)}):\n{body}",),
    )


@RULES("argument-range")
def _range(draw: Draw, inside: bool) -> Recipe:
    count = draw.between(5, 12)
    last = count - 5 if inside and count > 5 else count - 4
    if inside and count == 5:
        count, last = 6, 1
    return Recipe(
        f"{slots(count - 5)}\n{arguments()}\ncall f\nexit",
        (f"static u64 f({letters(count)}):\nr0 = *(u64 *)(r11 +{8 * last})\nexit",),
    )


@RULES("argument-count")
def _count(draw: Draw, inside: bool) -> Recipe:
    count = 12 if inside else 13
    store = slots(min(count, 12) - 5)
    return Recipe(f"{store}\n{arguments()}\ncall okf_sum{count}\nr0 += {draw.imm()}\nexit")


@RULES("argument-global")
def _global(draw: Draw, inside: bool) -> Recipe:
    count = draw.between(1, 5) if inside else draw.between(6, 12)
    loads = "r0 = r1" if inside else "r0 = *(u64 *)(r11 +8)"
    return Recipe(
        f"{slots(max(count - 5, 0))}\n{arguments()}\ncall f\nexit",
        (f"u64 f({letters(count)}):\n{loads}\nexit",),
    )


@RULES("argument-main")
def _main(draw: Draw, inside: bool) -> Recipe:
    load = "r0 = 1" if inside else f"r0 = *(u64 *)(r11 +{8 * draw.between(1, 7)})"
    return Recipe(f"{load}\n*(u64 *)(r11 -8) = 3\n{arguments()}\ncall f\nexit", (function(6),), quiet=True)


@RULES("argument-type")
def _type(draw: Draw, inside: bool) -> Recipe:
    """A pointer in a slot is a pointer in the callee, and a number is none."""
    pointer = draw.pick(("r6 = r10\nr6 += -8\n*(u64 *)(r10 -8) = 4", "r6 = map[values][0]+8"))
    value = pointer if inside else draw.pick(("r6 = 4096", number("r6")))
    count = draw.between(6, 12)
    slot = draw.below(count - 5)
    store = slots(count - 5, slot)
    return Recipe(
        f"{value}\n{store}\n*(u64 *)(r11 -{8 * (slot + 1)}) = r6\n{arguments()}\ncall f\nexit",
        (
            f"static u64 f({letters(count)}):\nr1 = *(u64 *)(r11 +{8 * (slot + 1)})\nr0 = *(u64 *)(r1 +0)\nexit",
        ),
    )


@RULES("argument-null")
def _null(draw: Draw, inside: bool) -> Recipe:
    """What a look-up gave goes into a slot; a check of the register is a check of the slot."""
    check = "if r0 == 0 goto out\n" if inside else draw.pick(("", "if r0 == 1 goto out\n"))
    early = draw.chance(0.5)
    store = "*(u64 *)(r11 -8) = r0\n"
    return Recipe(
        "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[table]\ncall bpf_map_lookup_elem\n"
        f"{store + check if early else check + store}{arguments()}\ncall f\nexit\nout:\nr0 = 0\nexit",
        (f"static u64 f({letters(6)}):\nr1 = *(u64 *)(r11 +8)\nr0 = *(u64 *)(r1 +0)\nexit",),
        maps=("values", "table"),
    )


@RULES("argument-packet")
def _packet(draw: Draw, inside: bool) -> Recipe:
    """A packet pointer in a slot; a helper that moves the packet takes the slots away."""
    pull = "r1 = r9\nr2 = 0\ncall bpf_skb_pull_data\n"
    get = "r6 = *(u32 *)(r9 +76)\nr7 = *(u32 *)(r9 +80)\nr8 = r6\nr8 += 14\nif r8 > r7 goto out\n"
    main = f"r9 = r1\n{pull if inside else ''}{get}*(u64 *)(r11 -8) = r6\n{'' if inside else pull}{arguments()}\ncall f\nexit\nout:\nr0 = 0\nexit"
    return Recipe(
        main,
        (f"static u64 f({letters(6)}):\nr1 = *(u64 *)(r11 +8)\nr0 = *(u8 *)(r1 +{draw.below(14)})\nexit",),
    )


@RULES("argument-index")
def _index(draw: Draw, inside: bool) -> Recipe:
    """Numbers from two ways travel through a slot, and index a map value in the callee."""
    kind, size = draw.pick((("u8", 1), ("u32", 4), ("u64", 8)))
    good = draw.between(0, 64 - size)
    last = 64 - size if inside else draw.pick((65 - size, 64, 4096))
    test = draw.pick(("if r6 == 0 goto other", "if r6 s< 0 goto other", "if w6 > 255 goto other"))
    first, second = (good, last) if draw.chance(0.5) else (last, good)
    return Recipe(
        f"{number('r6')}\n{test}\n*(u64 *)(r11 -8) = {first}\ngoto join\nother:\n*(u64 *)(r11 -8) = {second}\njoin:\n{arguments()}\ncall f\nexit",
        (
            f"static u64 f({letters(6)}):\nr1 = *(u64 *)(r11 +8)\nr2 = map[values][0]+0\nr2 += r1\nr0 = *({kind} *)(r2 +0)\nexit",
        ),
    )


@RULES("argument-bounded")
def _bounded(draw: Draw, inside: bool) -> Recipe:
    """A number that was bounded before it was stored is bounded in the callee."""
    bound = 56 if inside else draw.pick((57, 64, 1000))
    way = draw.pick((f"if r6 > {bound} goto out\n", f"if r6 >= {bound + 1} goto out\n"))
    order = draw.chance(0.5)
    store = "*(u64 *)(r11 -8) = r6\n"
    # stored before the check, it is another number that is checked: the slot is not linked with the register
    main = f"{number('r6')}\n{way}{store}{arguments()}\ncall f\nexit\nout:\nr0 = 0\nexit"
    if not inside and order:
        main = f"{number('r6')}\n{store}if r6 > 56 goto out\n{arguments()}\ncall f\nexit\nout:\nr0 = 0\nexit"
    return Recipe(
        main,
        (
            f"static u64 f({letters(6)}):\nr1 = *(u64 *)(r11 +8)\nr2 = map[values][0]+0\nr2 += r1\nr0 = *(u64 *)(r2 +0)\nexit",
        ),
    )


@RULES("kfunc-memory")
def _memory(draw: Draw, inside: bool) -> Recipe:
    """Memory and its size, in slots or on both sides of the border between registers and slots."""
    room = draw.pick((8, 16))
    size = draw.pick((0, 1, room - 1, room)) if inside else draw.pick((room + 1, room + 8, -1))
    fill = "*(u64 *)(r10 -8) = 1\n*(u64 *)(r10 -16) = 2\n" if room == 16 else "*(u64 *)(r10 -8) = 1\n"
    pointer = f"r6 = r10\nr6 += -{room}\n"
    if draw.chance(0.3):
        return Recipe(
            f"{fill}{pointer}*(u64 *)(r11 -8) = {size}\n{arguments(1, 4)}\nr5 = r6\ncall okf_mem_split\nexit"
        )
    name = draw.pick(("okf_mem", "bpf_kfunc_call_stack_arg_mem"))
    return Recipe(
        f"{fill}{pointer}*(u64 *)(r11 -8) = r6\n*(u64 *)(r11 -16) = {size}\n{arguments()}\ncall {name}\nexit"
    )


@RULES("kfunc-memory-variable")
def _memory_variable(draw: Draw, inside: bool) -> Recipe:
    mask = draw.pick((1, 7, 15)) if inside else draw.pick((31, 63, 255))
    way = (
        f"if r7 s< 0 goto out\nr7 &= {mask}"
        if draw.chance(0.6) or not inside
        else f"if r7 > {mask + 1} goto out"
    )
    return Recipe(
        f"{number('r7')}\n{way}\n*(u64 *)(r10 -8) = 1\n*(u64 *)(r10 -16) = 2\nr6 = r10\nr6 += -16\n*(u64 *)(r11 -8) = r6\n*(u64 *)(r11 -16) = r7\n"
        f"{arguments()}\ncall okf_mem\nexit\nout:\nr0 = 0\nexit"
    )


@RULES("kfunc-pointer")
def _pointer(draw: Draw, inside: bool) -> Recipe:
    """A struct of 16 bytes, at the end of the stack or of a map value."""
    if draw.chance(0.5):
        at = draw.pick((0, 16, 48)) if inside else draw.pick((49, 52, 56, 60))
        get = f"r6 = map[values][0]+{at}"
    else:
        off = draw.pick((16, 24, 64)) if inside else 8
        get = f"*(u64 *)(r10 -{off}) = 1\n*(u64 *)(r10 -{max(off - 8, 8)}) = 2\nr6 = r10\nr6 += -{off}"
    return Recipe(f"{get}\n*(u64 *)(r11 -8) = r6\n{arguments()}\ncall okf_void6\nr0 = 0\nexit")


@RULES("kfunc-string")
def _string(draw: Draw, inside: bool) -> Recipe:
    name = "text" if inside else draw.pick(("values", "endless"))
    return Recipe(
        f"{slots(5, 4)}\nr6 = map[{name}][0]+0\n*(u64 *)(r11 -40) = r6\n{arguments()}\ncall bpf_kfunc_call_stack_arg_const_str\nexit",
        maps=("values", "text", "endless"),
    )


@RULES("callback-parameters")
def _callback(draw: Draw, inside: bool) -> Recipe:
    """A callback is passed what the helper passes; a slot that nobody stored is refused."""
    count = draw.between(2, 5) if inside else draw.between(6, 12)
    main = "r1 = 2\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit"
    read = "r0 = r1" if inside else "r0 = *(u64 *)(r11 +8)"
    return Recipe(main, (f"static long f({letters(count)}):\n{read}\nr0 = 0\nexit",))


@RULES("tail-call")
def _tail(draw: Draw, inside: bool) -> Recipe:
    """No stack arguments on a chain that ends in a tail call; off it they are free."""
    wide = f"*(u64 *)(r11 -8) = 1\n{arguments()}\ncall f\n"
    tail = "r1 = r6\nr2 = map[progs]\nr3 = {index}\ncall bpf_tail_call\n".replace(
        "{index}", str(draw.pick((0, 1, 5)))
    )
    if draw.chance(0.5):
        main = f"r6 = r1\n{'call h' if inside else wide}\n{tail}r0 = 1\nexit"
        return Recipe(main, (function(6), f"static u64 h():\n{wide}exit"), maps=("values", "progs"))
    helper = f"static u64 t(struct __sk_buff *ctx):\nr6 = r1\n{'' if inside else wide}{tail}r0 = 2\nexit"
    return Recipe(
        "r7 = r1\ncall h\nr1 = r7\ncall t\nexit",
        (function(6), f"static u64 h():\n{wide}exit", helper),
        maps=("values", "progs"),
    )


@RULES("argument-unused")
def _unused_load(draw: Draw, inside: bool) -> Recipe:
    """A load counts, whether what it loads is used or not: of an argument not stored, or of one more than there are."""
    count = draw.between(7, 11)
    slot = draw.below(count - 5)
    gap = -1 if inside else draw.pick((-1, slot, count - 6))
    last = slot if inside or gap >= 0 else count - 5
    return Recipe(
        f"{slots(count - 5, gap)}\n{arguments()}\ncall f\nexit",
        (f"static u64 f({letters(count)}):\nr0 = *(u64 *)(r11 +{8 * (last + 1)})\nr0 = 1\nexit",),
    )
