"""Rules of references, callbacks, loops, sections, dynptrs and iterators, helper arguments, and of programs as a whole."""

from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.rules.recipe import Recipe, Rules, arguments, function, number

RULES = Rules()
_RESERVE = "r1 = map[ring]\nr2 = {size}\nr3 = 0\ncall bpf_ringbuf_reserve\n"
_SUBMIT = "r1 = r6\nr2 = 0\ncall {}\n"


def _give_back(draw: Draw) -> str:
    return _SUBMIT.format(draw.pick(("bpf_ringbuf_submit", "bpf_ringbuf_discard")))


@RULES("reference-leak")
def _leak(draw: Draw, inside: bool) -> Recipe:
    """A record of a ring buffer is given back on every way."""
    back = _give_back(draw)
    test = draw.pick(("if r7 > 5 goto other\n", "if r7 == 0 goto other\n", "if w7 s< 0 goto other\n"))
    reserve = _RESERVE.format(size=draw.pick((8, 16)))
    return Recipe(
        f"{number('r7')}\n{reserve}if r0 == 0 goto out\nr6 = r0\n*(u64 *)(r6 +0) = 7\n{test}{back}goto out\nother:\n{back if inside else 'r0 = 1'}\nout:\nr0 = 0\nexit",
        maps=("values", "ring"),
    )


@RULES("reference-null")
def _null(draw: Draw, inside: bool) -> Recipe:
    check = "if r0 == 0 goto out\n" if inside else ""
    use = draw.pick(("", "*(u64 *)(r6 +0) = 1\n"))
    return Recipe(
        f"{_RESERVE.format(size=8)}{check}r6 = r0\n{use}{_give_back(draw)}out:\nr0 = 0\nexit",
        maps=("values", "ring"),
    )


@RULES("reference-used-after")
def _after(draw: Draw, inside: bool) -> Recipe:
    use = draw.pick(("*(u64 *)(r6 +0) = 1\n", "r0 = *(u64 *)(r6 +8)\n"))
    back = _give_back(draw)
    return Recipe(
        f"{_RESERVE.format(size=16)}if r0 == 0 goto out\nr6 = r0\n{use + back if inside else back + use}out:\nr0 = 0\nexit",
        maps=("values", "ring"),
    )


@RULES("reference-twice")
def _twice(draw: Draw, inside: bool) -> Recipe:
    back = _give_back(draw)
    return Recipe(
        f"{_RESERVE.format(size=8)}if r0 == 0 goto out\nr6 = r0\n{back}{'' if inside else back}out:\nr0 = 0\nexit",
        maps=("values", "ring"),
    )


@RULES("reference-bounds")
def _bounds(draw: Draw, inside: bool) -> Recipe:
    size = draw.pick((8, 16, 24))
    off = draw.pick((0, size - 8)) if inside else draw.pick((size - 4, size, -8))
    return Recipe(
        f"{_RESERVE.format(size=size)}if r0 == 0 goto out\nr6 = r0\n*(u64 *)(r6 {off:+d}) = 1\n{_give_back(draw)}out:\nr0 = 0\nexit",
        maps=("values", "ring"),
    )


@RULES("reference-slot")
def _slot(draw: Draw, inside: bool) -> Recipe:
    """A record as stack argument: the callee writes to it; once it is given back, the slot is gone."""
    give, store, call = _give_back(draw), "*(u64 *)(r11 -8) = r6\n", f"{arguments()}\ncall f\n"
    rest = store + call + give if inside else store + give + call
    return Recipe(
        f"{_RESERVE.format(size=8)}if r0 == 0 goto out\nr6 = r0\n{rest}out:\nr0 = 0\nexit",
        (
            "static u64 f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 *f):\nr1 = *(u64 *)(r11 +8)\n*(u64 *)(r1 +0) = 4\nr0 = 0\nexit",
        ),
        maps=("values", "ring"),
    )


@RULES("helper-size")
def _size(draw: Draw, inside: bool) -> Recipe:
    """Bytes that a helper writes into the stack: a constant, or a bounded number."""
    room = draw.pick((8, 16))
    good, bad = (1, room - 1, room), (room + 1, 0, -1, 1 << 20)
    if draw.chance(0.5):
        size = f"r4 = {draw.pick(good if inside else bad)}\n"
    else:
        test = draw.pick((f"r4 &= {room - 1}\nr4 += 1\n", f"if r4 > {room} goto out\nif r4 == 0 goto out\n"))
        wrong = draw.pick(
            (
                f"r4 &= {2 * room - 1}\nr4 += 1\n",
                f"if r4 > {room + 1} goto out\n",
                f"if r4 s> {room} goto out\n",
            )
        )
        size = f"{number('r4')}\n{test if inside else wrong}"
    return Recipe(
        f"r6 = r1\n*(u64 *)(r10 -8) = 0\n*(u64 *)(r10 -16) = 0\n{size}r1 = r6\nr2 = 0\nr3 = r10\nr3 += -{room}\ncall bpf_skb_load_bytes\nout:\nr0 = *(u8 *)(r10 -8)\nexit"
    )


@RULES("helper-key")
def _key(draw: Draw, inside: bool) -> Recipe:
    get = draw.pick(("r2 = r10\nr2 += -4\n", "r2 = map[values][0]+60\n"))
    bad = draw.pick(
        (
            "r2 = 4\n",
            "r2 = r10\nr2 += -2\n",
            "r2 = map[values][0]+61\n",
            "r2 = r9\n",
            "r2 = r10\n",
            "r2 = map[values]\n",
        )
    )
    return Recipe(
        f"r9 = r1\n*(u32 *)(r10 -4) = 0\n{get if inside else bad}r1 = map[values]\ncall bpf_map_lookup_elem\nr0 = 0\nexit"
    )


@RULES("helper-map")
def _map(draw: Draw, inside: bool) -> Recipe:
    bad = draw.pick(("r1 = map[ring]\n", "r1 = map[values][0]+0\n", "r1 = 5\n", "r1 = r10\n", "r1 = r9\n"))
    return Recipe(
        f"r9 = r1\n*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\n{'r1 = map[values]' if inside else bad}\ncall bpf_map_lookup_elem\nr0 = 0\nexit",
        maps=("values", "ring"),
    )


@RULES("helper-context")
def _context(draw: Draw, inside: bool) -> Recipe:
    get = "r1 = r6\n" if inside else draw.pick(("r1 = 0\n", "r1 = r10\n", "r1 = map[values][0]+0\n"))
    return Recipe(
        f"r6 = r1\n*(u64 *)(r10 -8) = 0\n{get}r2 = 0\nr3 = r10\nr3 += -8\nr4 = 4\ncall bpf_skb_load_bytes\nr0 = 0\nexit"
    )


@RULES("helper-type")
def _type(draw: Draw, inside: bool) -> Recipe:
    """Not every program may call every helper."""
    call = (
        "call bpf_ktime_get_ns"
        if inside
        else draw.pick(
            (
                "call bpf_xdp_adjust_head",
                "call bpf_copy_from_user",
                "call 9999",
                "call bpf_probe_write_user",
            )
        )
    )
    return Recipe(f"r2 = 0\nr3 = 0\n{call}\nr0 = 0\nexit", quiet=True)


@RULES("callback-result")
def _callback_result(draw: Draw, inside: bool) -> Recipe:
    result = (
        draw.pick(("r0 = 0", "r0 = 1", "r0 = r1\nr0 &= 1"))
        if inside
        else draw.pick(("r0 = 2", "r0 = r1", "r0 = -1"))
    )
    return Recipe(
        f"r1 = {draw.pick((1, 3))}\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit",
        (f"static long f(u32 i, void *c):\n{result}\nexit",),
    )


@RULES("callback-registers")
def _callback_registers(draw: Draw, inside: bool) -> Recipe:
    reg = draw.pick((1, 2)) if inside else draw.pick((3, 4, 5, 6, 7, 0))
    return Recipe(
        "r6 = 6\nr1 = 2\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit",
        (f"static long f(u32 i, void *c):\nr9 = r{reg}\nr0 = 0\nexit",),
    )


@RULES("callback-counts")
def _callback_counts(draw: Draw, inside: bool) -> Recipe:
    """A callback counts in the caller's stack; how far, nobody knows."""
    rounds = draw.pick(("r1 = 3\n", "r1 = r7\nr1 &= 7\n")) if inside else "r1 = r7\nr1 &= 15\n"
    bound = "if r1 s< 0 goto out\nr1 &= 63\n" if inside else "if r7 == 9 goto out\n"
    return Recipe(
        f"{number('r7')}\n*(u64 *)(r10 -8) = 0\n{rounds}r2 = subprog[f]\nr3 = r10\nr3 += -8\nr4 = 0\ncall bpf_loop\nr1 = *(u64 *)(r10 -8)\n{bound}r2 = map[values][0]+0\n"
        "r2 += r1\nr0 = *(u8 *)(r2 +0)\nexit\nout:\nr0 = 0\nexit",
        ("static long f(u32 i, u64 *c):\nr3 = *(u64 *)(r2 +0)\nr3 += 8\n*(u64 *)(r2 +0) = r3\nr0 = 0\nexit",),
    )


@RULES("callback-calls")
def _callback_calls(draw: Draw, inside: bool) -> Recipe:
    """A callback that passes stack arguments itself, all of them in every round."""
    count = draw.between(6, 12)
    store = "\n".join(f"*(u64 *)(r11 -{8 * (at + 1)}) = r1" for at in range(count - 5))
    missing = store if inside else "\n".join(store.split("\n")[:-1])
    return Recipe(
        f"r1 = {draw.pick((1, 4))}\nr2 = subprog[g]\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit",
        (
            function(count),
            f"static long g(u32 i, void *c):\n{missing}\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\ncall f\nr0 = 0\nexit",
        ),
    )


@RULES("loop-end")
def _loop(draw: Draw, inside: bool) -> Recipe:
    step = draw.pick((1, 2)) if inside else 0
    test = draw.pick(("if r6 < {0} goto again", "if r6 s< {0} goto again", "if w6 < {0} goto again")).format(
        draw.pick((2, 10, 64))
    )
    work = "r0 += 3\n" if inside else "r0 = 3\n"  # where nothing changes, it is found out at once
    return Recipe(f"r6 = 0\nr0 = 0\nagain:\n{work}r6 += {step}\n{test}\nexit")


@RULES("loop-index")
def _loop_index(draw: Draw, inside: bool) -> Recipe:
    """A counter as an index, up to the value's end or one further."""
    rounds = draw.pick((8, 7)) if inside else 9
    return Recipe(
        f"r6 = 0\nr0 = 0\nagain:\nr1 = r6\nr1 <<= 3\nr2 = map[values][0]+0\nr2 += r1\nr3 = *(u64 *)(r2 +0)\nr0 += r3\nr6 += 1\nif r6 != {rounds} goto again\nexit"
    )


@RULES("loop-may-goto")
def _loop_may_goto(draw: Draw, inside: bool) -> Recipe:
    """What changes in a loop that goes on and on is no longer known behind it."""
    bound = "r1 &= 31\n" if inside else ""
    return Recipe(
        f"r6 = 0\nagain:\nmay_goto done\nr6 += 1\nif r6 != {draw.pick((3, 5))} goto again\ndone:\nr1 = r6\n{bound}r2 = map[values][0]+{0 if inside else 62}\nr2 += r1\nr0 = *(u8 *)(r2 +0)\nexit"
    )


@RULES("iterator")
def _iterator(draw: Draw, inside: bool) -> Recipe:
    new = f"r1 = r10\nr1 += -8\nr2 = 0\nr3 = {draw.pick((1, 3, 5))}\ncall bpf_iter_num_new\n"
    loop = "again:\nr1 = r10\nr1 += -8\ncall bpf_iter_num_next\nif r0 == 0 goto done\nr1 = *(u32 *)(r0 +0)\nr6 += r1\ngoto again\ndone:\n"
    destroy = "r1 = r10\nr1 += -8\ncall bpf_iter_num_destroy\n"
    if inside:
        return Recipe(f"r6 = 0\n{new}{loop}{destroy}r0 = r6\nexit")
    text = draw.pick(
        (
            new + loop,
            loop + destroy,
            new + new + loop + destroy,
            new + loop + destroy + destroy,
            new + "*(u64 *)(r10 -8) = 0\n" + loop + destroy,
        )
    )
    return Recipe(f"r6 = 0\n{text}r0 = r6\nexit")


@RULES("iterator-slot")
def _iterator_slot(draw: Draw, inside: bool) -> Recipe:
    """An iterator as the tenth argument of a kfunc."""
    new = f"r1 = r10\nr1 += -16\nr2 = {draw.pick((5, -7))}\nr3 = 3\ncall bpf_iter_testmod_seq_new\n"
    destroy = "r1 = r10\nr1 += -16\ncall bpf_iter_testmod_seq_destroy\n"
    off = 16 if inside else draw.pick((8, 24))
    call = (
        f"r6 = r10\nr6 += -{off}\n"
        + "\n".join(f"*(u64 *)(r11 -{8 * at}) = {at}" for at in range(1, 5))
        + f"\n*(u64 *)(r11 -40) = r6\n{arguments()}\ncall bpf_kfunc_call_stack_arg_iter\nr7 = r0\n"
    )
    return Recipe(f"*(u64 *)(r10 -24) = 0\n{new}{call}{destroy}r0 = r7\nexit")


@RULES("dynptr")
def _dynptr(draw: Draw, inside: bool) -> Recipe:
    """Of an array's value; as the tenth argument of a kfunc, or read by a helper."""
    new = f"r1 = map[values][0]+0\nr2 = {draw.pick((8, 64))}\nr3 = 0\nr4 = r10\nr4 += -16\ncall bpf_dynptr_from_mem\n"
    harm = "" if inside else draw.pick(("*(u8 *)(r10 -12) = 0\n", "*(u64 *)(r10 -8) = 0\n"))
    if not inside and draw.chance(0.3):
        new = "*(u64 *)(r10 -8) = 0\n*(u64 *)(r10 -16) = 0\n"
    if draw.chance(0.5):
        use = "*(u64 *)(r10 -24) = 0\nr1 = r10\nr1 += -24\nr2 = 8\nr3 = r10\nr3 += -16\nr4 = 0\nr5 = 0\ncall bpf_dynptr_read\nr0 = *(u64 *)(r10 -24)\n"
    else:
        stores = "\n".join(f"*(u64 *)(r11 -{8 * at}) = {at}" for at in range(1, 5))
        use = f"r6 = r10\nr6 += -16\n{stores}\n*(u64 *)(r11 -40) = r6\n{arguments()}\ncall bpf_kfunc_call_stack_arg_dynptr\n"
    return Recipe(f"{new}{harm}{use}exit")


@RULES("dynptr-ring")
def _dynptr_ring(draw: Draw, inside: bool) -> Recipe:
    back = f"r1 = r10\nr1 += -16\nr2 = 0\ncall {draw.pick(('bpf_ringbuf_submit_dynptr', 'bpf_ringbuf_discard_dynptr'))}\n"
    return Recipe(
        f"r1 = map[ring]\nr2 = 16\nr3 = 0\nr4 = r10\nr4 += -16\ncall bpf_ringbuf_reserve_dynptr\n{back if inside else ''}r0 = 0\nexit",
        maps=("values", "ring"),
    )


@RULES("section")
def _section(draw: Draw, inside: bool) -> Recipe:
    """What is begun is ended: RCU, preemption, interrupts."""
    begin, end = draw.pick(
        (
            ("call bpf_rcu_read_lock\n", "call bpf_rcu_read_unlock\n"),
            ("call bpf_preempt_disable\n", "call bpf_preempt_enable\n"),
            (
                "r1 = r10\nr1 += -8\ncall bpf_local_irq_save\n",
                "r1 = r10\nr1 += -8\ncall bpf_local_irq_restore\n",
            ),
        )
    )
    text = begin + end if inside else draw.pick((begin, end))
    return Recipe(f"{text}r0 = 0\nexit")


@RULES("packet-load")
def _packet_load(draw: Draw, inside: bool) -> Recipe:
    """LD_ABS and LD_IND find the context in r6, and clobber r1 to r5."""
    load = draw.pick(("r0 = *(u8 *)skb[12]", "r0 = *(u16 *)skb[0]", "r7 = 2\nr0 = *(u32 *)skb[r7+1]"))
    if inside:
        return Recipe(f"r6 = r1\nr8 = 4\n{load}\nr0 += r8\nexit")
    return Recipe(
        draw.pick(
            (
                f"{load}\nexit",
                f"r6 = 5\n{load}\nexit",
                f"r6 = r1\nr2 = 3\n{load}\nr0 = r2\nexit",
                f"r6 = r10\n{load}\nexit",
            )
        )
    )


@RULES("flow")
def _flow(draw: Draw, inside: bool) -> Recipe:
    good = (
        "r0 = 1\nexit",
        "goto +1\nend:\nexit\nr0 = 2\ngoto end",
        "r0 = 0\nif r0 == 0 goto +1\nr0 = 5\nexit",
    )
    bad = (
        "r0 = 1\nexit\nr0 = 2\nexit",
        "r0 = 1",
        "r0 = 1\ngoto +5",
        "r0 = 0\nagain:\ngoto again",
        "r0 = 0\nif r0 == 0 goto -5\nexit",
        "goto +1\nr1 = 5 ll\nexit",
    )
    return Recipe(draw.pick(good if inside else bad), quiet=True)


@RULES("recursion")
def _recursion(draw: Draw, inside: bool) -> Recipe:
    again = "r0 = 1\n" if inside else draw.pick(("call f\n", "call g\n"))
    return Recipe(
        "call f\ncall g\nexit",
        (
            f"static u64 f():\n{again}exit",
            "static u64 g():\n" + ("r0 = 2" if inside else "call f") + "\nexit",
        ),
    )


@RULES("sleepable")
def _sleepable(draw: Draw, inside: bool) -> Recipe:
    call = f"*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\nr2 = {draw.pick((1, 4, 8))}\nr3 = 0\ncall bpf_copy_from_user\n"
    lock = "" if inside else "call bpf_rcu_read_lock\n"
    unlock = "" if inside else "call bpf_rcu_read_unlock\n"
    return Recipe(f"{lock}{call}{unlock}r0 = 0\nexit", prog_type="syscall")
