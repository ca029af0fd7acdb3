"""Generator `isa`: every form of the instruction table that a program may hold, with operands at the edges.

Straight programs with short branches: all registers hold numbers from the start, pointers move through all of them, and all
that is left in registers at the end is stored. The table of forms says what there is; nothing here says what a form does.
"""

import random
from collections.abc import Callable

from bpf import isa
from bpf.kernelvars import KERNEL_VARS
from bpf.opcodes import FORMS, Form
from bpf.program import Request
from emu.fuzz.generators import callees
from emu.fuzz.generators.accesses import context, indexed, packet
from emu.fuzz.generators.arenas import arena, visit
from emu.fuzz.generators.arith import alu, constant, mask
from emu.fuzz.generators.body import FP, PARAMS, REGS, SAVED, TEMPORARY, Body, Pointer
from emu.fuzz.generators.branches import fork, loop
from emu.fuzz.generators.building import arguments
from emu.fuzz.generators.code import link
from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.edges import at_exceptions
from emu.fuzz.generators.frame import early_exit, enter, leave
from emu.fuzz.generators.made import Made
from emu.fuzz.generators.plan import VALUE_SIZE, Plan
from emu.fuzz.generators.prototypes import GLOBAL, RETURNS, SCALARS, Param, Signature
from emu.fuzz.generators.setting import FLAGS, context_type, inputs, maps
from emu.fuzz.generators.switches import switch

_TYPES = ("sched_cls",) * 4 + ("syscall",) * 4 + ("xdp",) * 2
_DEPTHS = (16, 32, 64, 104, 120, 128, 136, 200, 256)
_PACKET = frozenset({"ld_abs_b", "ld_abs_h", "ld_abs_w", "ld_ind_b", "ld_ind_h", "ld_ind_w"})
_ARENAS = 0.25  # of all programs
_SIZES = (isa.B, isa.H, isa.W, isa.DW)
_VARIABLES = tuple(
    one for one in KERNEL_VARS.values() if not one.struct or one.type in ("cpumask", "pt_regs")
)
_SHIFT_WAYS = (0, 1, 2, 7, 8, 15, 16, 24, 31, 32, 33, 48, 62, 63)


def forms(rng: random.Random) -> Made:
    """One program of this kind."""
    draw = Draw(rng)
    prog_type = draw.pick(_TYPES)
    plan = Plan(draw, prog_type, maps(draw), forks=draw.pick((3, 5, 8)), may_gotos=2)
    plan.packet_loads = prog_type == "sched_cls"
    if draw.chance(_ARENAS):
        plan.arena = len(plan.maps)
        plan.maps = (*plan.maps, arena(draw))
    count = draw.pick((0, 2, 5, 6, 7, 8, 12))
    callee = Signature("f0", tuple(Param(draw.pick(SCALARS)) for _ in range(count)), draw.pick(RETURNS))
    main = Signature("main", (Param(context_type(prog_type), ctx=True),), "int", GLOBAL)
    plan.functions = (main, callee)
    size = draw.pick((12, 20, 28, 36, 44, 56))
    bodies = [_body(plan, main, size)]
    if any(name == "f0" for _, name in bodies[0].code.calls):
        bodies.append(_body(plan, callee, size // 3))
    program = link(
        "isa",
        [(body.signature, body.code) for body in bodies],
        prog_type=prog_type,
        prog_flags=FLAGS.get(prog_type, 0),
        maps=plan.maps,
    )
    return Made(Request(program, inputs(draw, prog_type)), {}, tuple(sorted(plan.tags)))


def _body(plan: Plan, signature: Signature, size: int) -> Body:
    draw = plan.draw
    body = Body(plan, signature, SAVED, draw.pick(_DEPTHS), statement)
    enter(body)
    body.loaded = 0
    for reg in REGS[0x3FF & ~body.numbers]:
        if reg not in body.pointers:
            _fresh(body, reg)
    while len(body.code.rows) < size:
        statement(body)
    leave(body, show=True)
    return body


def _fresh(body: Body, reg: int) -> None:
    """A number that nothing is known of, where there is one to have, or a constant."""
    draw = body.draw
    ctx = next((one for one, pointer in body.pointers.items() if pointer.kind == "ctx"), None)
    if body.plan.prog_type == "syscall" and ctx is not None and draw.random() < 0.5:
        body.code.load(reg, ctx, 8 * draw.below(VALUE_SIZE // 8))
        body.number(reg)
    elif draw.random() < 0.3:
        body.code.map_value(reg, body.plan.values, 8 * draw.below(VALUE_SIZE // 8))
        body.code.load(reg, reg, 0)
        body.number(reg)
    elif draw.random() < 0.4:
        body.code.wide(reg, draw.word())
        body.number(reg)
    else:
        constant(body, reg)


# ---------------------------------------------------------------- one form


def statement(body: Body) -> None:
    """One form, or, at times, something that is more than one instruction."""
    draw = body.draw
    kind = draw.random()
    if kind < 0.04:
        draw.pick((context, packet, indexed, early_exit))(body)
        return
    if kind < 0.05 and not body.locked & (TEMPORARY | 1 << PARAMS):
        loop(body, lambda inner: _some(inner, 2))
        return
    if kind < 0.08:
        at_exceptions(body)
        return
    if kind < 0.16 and body.plan.arena is not None and visit(body, body.plan.arena):
        return
    form, emit = _FORMS[int(draw.random() * len(_FORMS))]
    emit(body, form)


def _some(body: Body, most: int) -> None:
    for _ in range(body.draw.between(0, most)):
        statement(body)


def _arith(body: Body, form: Form) -> None:
    draw = body.draw
    dst = body.changeable() if form.dst == "update" else body.target()
    src = body.any_number()
    if dst is None or src is None:
        constant(body, body.target())
        return
    if form.dst == "update" and draw.random() < 0.25:
        src = _at_edges(body, dst, src, shifts=form.code & isa.OP_MASK in (isa.LSH, isa.RSH, isa.ARSH))
    imm = draw.imm()
    if form.imm == "shift":
        imm = draw.pick(_SHIFT_WAYS) & (63 if form.code & 7 == isa.ALU64 else 31)
    elif form.code & isa.OP_MASK in (isa.DIV, isa.MOD) and form.imm == "imm":
        imm = imm or 1
    _put(body, form, dst, src, 0, imm)
    body.number(dst)


def _at_edges(body: Body, dst: int, src: int, *, shifts: bool) -> int:
    """Operands that something special holds for: the least number and -1, upper bits only, counts. Returns the second one."""
    draw = body.draw
    body.code.wide(dst, draw.word())
    body.number(dst)
    other = body.changeable()
    if other is None or other == dst:
        return src
    body.code.mov_imm(other, draw.pick(_SHIFT_WAYS) if shifts else draw.pick((-1, 0, 1, 2, -2, -0x80000000)))
    body.number(other)
    return other


def _put(body: Body, form: Form, dst: int, src: int, off: int, imm: int) -> None:
    """The form, with what is not fixed by it."""
    body.code.put(
        form.code,
        form.dst if isinstance(form.dst, int) else dst,
        form.src if isinstance(form.src, int) else src,
        form.off if isinstance(form.off, int) else off,
        form.imm if isinstance(form.imm, int) else imm,
    )


def _branch(body: Body, form: Form) -> None:
    draw, code = body.draw, body.code
    left, right = body.any_number(), body.any_number()
    if left is None or right is None or body.nesting > 1 or not fork(body):
        alu(body)
        return
    if draw.random() < 0.2 and body.changeable() == left:
        right = _at_edges(body, left, right, shifts=False)
    if form.name in ("ja", "gotol"):
        jump = code.jump(draw.pick((isa.JMP, isa.JMP32)) | isa.JEQ, left, 0, draw.imm())
    else:
        jump = code.jump(
            form.code, left, right if form.src == "read" else 0, draw.imm() if form.imm == "imm" else 0
        )
    body.nesting += 1
    before = body.known()
    _some(body, 2)
    if form.name in ("ja", "gotol") or draw.random() < 0.3:
        over = code.jump(form.code if form.name in ("ja", "gotol") else isa.OP_JA)
        after = body.known()
        code.land(jump)
        body.return_to(before)
        _some(body, 2)
        code.land(over)
        body.join(after)
    else:
        code.land(jump)
        body.join(before)
    body.nesting -= 1


def _arena(body: Body, _form: Form) -> None:
    if body.plan.arena is None or not visit(body, body.plan.arena):
        alu(body)


def _variable(body: Body, form: Form) -> None:
    """The address of a kernel's variable, and, where a call may be made, what this CPU has there."""
    draw, code = body.draw, body.code
    one = draw.pick(_VARIABLES)
    if body.locked & (TEMPORARY | 1 << PARAMS):
        dst = body.target()
        if body.loops:
            alu(body)
            return
        _put(body, form, dst, 0, 0, one.number)
        code.put(0)
        body.forget(1 << dst)
        return
    _put(body, form, 1, 0, 0, one.number)
    code.put(0)
    null = None
    if draw.random() < 0.4:
        code.mov_imm(2, draw.pick((0, 0, 0, 1, 64, -1)))
        code.helper(callees.PER_CPU_PTR)
        body.called(result=False)
        null = code.jump(isa.JMP | isa.JEQ, 0)
    else:
        code.helper(callees.THIS_CPU_PTR)
        body.called(result=False)
    size = draw.pick(tuple(size for size in _SIZES if isa.SIZE_BYTES[size] <= one.size))
    signed = size != isa.DW and draw.random() < 0.3
    width = isa.SIZE_BYTES[size]
    code.put(isa.LDX | (isa.MEMSX if signed else isa.MEM) | size, 0, 0, draw.below(one.size // width) * width)
    if null is not None:
        code.land(null)
    body.number(0)


def _switch(body: Body, _form: Form) -> None:
    if body.nesting > 1 or not switch(body, lambda inner: _some(inner, 1)):
        alu(body)


def _may_goto(body: Body, _form: Form) -> None:
    if body.loops or body.plan.may_gotos <= 0:
        alu(body)
        return
    body.plan.may_gotos -= 1
    out = body.code.jump(isa.OP_MAY_GOTO)
    before = body.known()
    alu(body)
    body.code.land(out)
    body.join(before)


# ---------------------------------------------------------------- memory


def _place(body: Body, width: int, *, aligned: bool = False) -> tuple[int, int] | None:
    """A base register and displacement of `width` bytes that may be read and written: numbers in the stack or the array."""
    draw = body.draw
    if body.slots and draw.random() < 0.4:
        off = draw.pick(tuple(body.slots))
        body.slots[off] = None
        return FP, off + draw.below(8 // width) * width
    held = [reg for reg, pointer in body.pointers.items() if pointer.kind == "map"]
    if not held or (len(held) < 3 and draw.random() < 0.3):
        reg = _new_pointer(body)
        if reg is None:
            return None
    else:
        reg = draw.pick(held)
    step = width if aligned or draw.random() < 0.7 else 1
    at = draw.below((VALUE_SIZE - width) // step + 1) * step
    return reg, at - (VALUE_SIZE - body.pointers[reg].room)


def _new_pointer(body: Body) -> int | None:
    """A register with an address in the array's values, or around them; its `room` is the distance to their end."""
    draw = body.draw
    free = REGS[0x3FF & ~body.locked & ~body.loaded]
    free = tuple(reg for reg in free if reg not in body.pointers)
    if not free or body.loops or len(free) < 4:
        return None
    reg = draw.pick(free)
    position = draw.below(VALUE_SIZE)
    body.code.map_value(reg, body.plan.values, position)
    if draw.random() < 0.3:
        more = draw.pick((1, 64, 65, 127, 128, 129, 191, 192, 1000, 32000))
        body.code.add_imm(reg, more)
        position += more
    return body.point(reg, Pointer("map", VALUE_SIZE - position))


def _width(form: Form) -> int:
    return isa.SIZE_BYTES[form.code & isa.SIZE_MASK]


def _load(body: Body, form: Form) -> None:
    place = _place(body, _width(form), aligned=form.code & isa.MODE_MASK == isa.ATOMIC)
    if place is None:
        alu(body)
        return
    dst = body.load_target()
    if dst in body.pointers and body.loops:
        alu(body)
        return
    _put(body, form, dst, place[0], place[1], 0)
    body.number(dst)


def _store(body: Body, form: Form) -> None:
    place = _place(body, _width(form), aligned=form.code & isa.MODE_MASK == isa.ATOMIC)
    src = body.any_number()
    if place is None or src is None:
        alu(body)
        return
    _put(body, form, place[0], src, place[1], body.draw.imm())


def _atomic(body: Body, form: Form) -> None:
    draw = body.draw
    swap = form.name.endswith("cmpxchg")
    if swap and not body.numbers & 1:
        if body.locked & 1 or 0 in body.pointers:
            alu(body)
            return
        constant(body, 0)
    place = _place(body, _width(form), aligned=True)
    src = body.changeable() if form.src == "update" else body.any_number()
    if place is None or src is None or (swap and place[0] == 0):
        alu(body)
        return
    if swap and draw.random() < 0.5 and not body.locked & 1 and 0 not in body.pointers:
        # what is there, at times with what is behind it in the upper half
        wide = draw.random() < 0.5 and place[0] == FP and place[1] % 8 == 0
        body.code.put(isa.LDX | isa.MEM | (isa.DW if wide else form.code & isa.SIZE_MASK), 0, *place)
        body.number(0)
    _put(body, form, place[0], src, place[1], 0)
    if form.src == "update":
        body.number(src)
    if swap:
        body.number(0)


# ---------------------------------------------------------------- immediates, packets, calls


def _wide(body: Body, form: Form) -> None:
    draw, code = body.draw, body.code
    if form.name in ("ld_map_value", "ld_map_idx_value"):
        if _new_pointer(body) is None:
            alu(body)
        elif form.name == "ld_map_idx_value":
            at = next(at for at in range(len(code.rows) - 1, -1, -1) if code.rows[at][0] == isa.LD_IMM64)
            _, dst, _, off, imm = code.rows[at]
            code.rows[at] = (isa.LD_IMM64, dst, isa.PSEUDO_MAP_IDX_VALUE, off, imm)
        return
    dst = body.target()
    if body.loops and dst in body.pointers:
        alu(body)
    elif form.name == "ld_imm64":
        code.wide(dst, draw.word())
        body.number(dst)
    elif form.name == "ld_func":
        if body.signature.name != "main" or not code.calls:
            alu(body)
            return
        code.address(dst, "f0")
        body.forget(1 << dst)
    elif not body.loops:
        code.map(dst, body.plan.values)
        if form.name == "ld_map_idx":
            code.rows[-2] = (isa.LD_IMM64, dst, isa.PSEUDO_MAP_IDX, 0, body.plan.values)
        body.forget(1 << dst)


def _packet_load(body: Body, form: Form) -> None:
    """Of a context in r6, which is put there where it may; the registers that are clobbered get numbers again."""
    draw, code = body.draw, body.code
    ctx = next((reg for reg, pointer in body.pointers.items() if pointer.kind == "ctx"), None)
    at_six = body.pointers.get(6)
    ready = at_six is not None and at_six.kind == "ctx"
    if not body.plan.packet_loads or ctx is None or body.locked & TEMPORARY or (body.loops and not ready):
        alu(body)
        return
    if not ready:
        code.mov(6, ctx)
        body.copied(6, ctx)
    index = body.any_number()
    if form.name.startswith("ld_ind"):
        if index is None:
            return
        small = body.draw.pick((0, 1, 2, 3, 4, 5, 7, 8, 9))
        if small in body.pointers or body.locked >> small & 1:
            small = 0
        code.mov(small, index)
        mask(body, small, 31)
        _put(body, form, 0, small, 0, draw.pick((0, 1, 2, 8, -1)))
    else:
        _put(body, form, 0, 0, 0, draw.pick((0, 1, 2, 3, 4, 8, 12, 13, 60)))
    body.forget(TEMPORARY)
    body.number(0)


def _call(body: Body, form: Form) -> None:
    if body.locked & (TEMPORARY | 1 << PARAMS):
        alu(body)
        return
    draw, code = body.draw, body.code
    if form.name == "call_helper":
        code.helper(draw.pick((callees.KTIME, callees.PRANDOM, callees.PROCESSOR)))
        body.called()
    elif body.signature.name == "main" and (form.name == "call_subprog" or draw.random() < 0.5):
        arguments(body, body.plan.functions[1].params, callee="f0")
        code.call("f0")
        body.called()
    else:
        some = [
            one
            for one in callees.KFUNCS_OF[draw.pick(callees.KFUNC_COUNTS)]
            if not one.pointers and (one.everywhere or body.plan.prog_type != "xdp")
        ]
        callee = draw.pick(some or callees.KFUNCS_OF[12][:1])
        arguments(body, callee.params)
        code.kfunc(callee.name, callee.module)
        body.called(result=callee.result)


def _emitter(form: Form) -> Callable[[Body, Form], None] | None:
    cls, mode = form.code & isa.CLASS_MASK, form.code & isa.MODE_MASK
    if not form.loadable:
        return None
    if form.name in ("addr_space_cast", "ld_btf_id"):
        return _arena if form.name == "addr_space_cast" else _variable
    if cls in (isa.ALU, isa.ALU64):
        return _arith
    if form.name in _PACKET:
        return _packet_load
    if form.wide:
        return _wide
    if form.name.startswith("call") or form.name in ("ldx_arg", "stx_arg", "st_arg"):
        return _call
    if cls in (isa.JMP, isa.JMP32):
        others = {"may_goto": _may_goto, "gotox": _switch, "exit": None}
        return others.get(form.name, _branch)
    if form.name.startswith("load_acquire") or cls == isa.LDX:
        return _load
    if mode == isa.ATOMIC and not form.name.startswith("store_release"):
        return _atomic
    return _store


_SELDOM = (_call, _packet_load, _switch, _arena, _variable)
_RARE = 4  # times that forms are there which stand for whole calls
_FORMS = tuple(
    (form, emit)
    for form in FORMS
    if (emit := _emitter(form)) is not None
    for _ in range(_RARE if emit in _SELDOM else 1)
)
