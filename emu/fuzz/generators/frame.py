"""How a function begins and ends: what it is given, its stack, the stack arguments it loads, its result."""

from bpf import isa
from emu.fuzz.generators import callees
from emu.fuzz.generators.accesses import load_argument, word
from emu.fuzz.generators.arith import alu, constant
from emu.fuzz.generators.body import FP, REGS, Body, Pointer
from emu.fuzz.generators.branches import condition
from emu.fuzz.generators.plan import VALUE_SIZE
from emu.fuzz.generators.statements import plain
from emu.fuzz.generators.ways import ask


def enter(body: Body) -> None:
    """What holds at the function's first instruction, and its first few."""
    draw, code, signature = body.draw, body.code, body.signature
    _given(body)
    for reg in REGS[body.keep]:
        if draw.random() < 0.2 and not (reg == 6 and body.plan.packet_loads):
            body.loaded |= 1 << reg
    if body.depth:
        _use_stack(body)
    held = [reg for reg, pointer in body.pointers.items() if pointer.kind == "ctx"]
    saved = REGS[body.keep & ~body.loaded]
    if held and saved and draw.random() < 0.85:
        keeper = 6 if body.plan.packet_loads and 6 in saved else draw.pick(saved)
        code.mov(keeper, held[0])
        body.copied(keeper, held[0])
    for reg in saved:
        if not (body.numbers >> reg & 1 or reg in body.pointers) and draw.random() < 0.4:
            _fill_saved(body, reg)
    if draw.random() < 0.2:
        plain(body)
    for _ in range(signature.slots):
        if draw.random() < 0.8:
            _load(body)


def _given(body: Body) -> None:
    """The first five arguments."""
    for index, param in enumerate(body.signature.params[:5]):
        if param.scalar:
            body.number(index + 1, param.bound)
        elif not param.opaque:
            body.point(index + 1, Pointer("ctx" if param.ctx else "arg", param.room))


def _fill_saved(body: Body, reg: int) -> None:
    """An argument, or a constant, to a register that outlasts calls."""
    src = body.any_number()
    if src is None:
        constant(body, reg)
    else:
        body.code.mov(reg, src)
        body.copied(reg, src)


def _load(body: Body) -> None:
    """One of the stack arguments; at times it is put into the stack at once, at times something else comes first."""
    draw = body.draw
    got = load_argument(body)
    passed = body.plan.passed.get((body.signature.name, got[1])) if got else None
    if got and passed and draw.random() < 0.5:
        ask(body, got[0], passed)
    elif draw.random() < 0.3 and body.frame:
        word(body, draw.pick(body.frame), body.any_number())
    elif draw.random() < 0.1:
        plain(body)


def _use_stack(body: Body) -> None:
    """Chooses the stack words of the function, and writes its deepest byte."""
    words = body.depth // 8
    some = range(1, words + 1) if words <= 6 else (1, 2, 3, words - 2, words - 1, words)
    body.frame = tuple(-8 * number for number in some)
    if body.depth % 8 == 0:
        word(body, -body.depth, body.any_number() if body.draw.random() < 0.5 else None)
        return
    size = isa.W if body.depth % 4 == 0 else isa.H if body.depth % 2 == 0 else isa.B
    body.code.put(isa.ST | isa.MEM | size, FP, off=-body.depth, imm=body.draw.imm())


def early_exit(body: Body) -> None:
    """A way out in the middle."""
    jump = condition(body) if body.plan.forks > 0 else None
    if jump is None:
        alu(body)
        return
    body.plan.forks -= 1
    before = body.known()
    _result(body)
    body.code.exit()
    body.code.land(jump)
    body.return_to(before)
    body.plan.tags.add("exits")


def throw(body: Body) -> None:
    """An exception in the middle, which no function on the way sees."""
    jump = condition(body) if body.plan.forks > 0 else None
    if jump is None:
        alu(body)
        return
    body.plan.forks -= 1
    before = body.known()
    _thrown(body)
    body.code.land(jump)
    body.return_to(before)


def _thrown(body: Body) -> None:
    """Throws a number."""
    draw, code = body.draw, body.code
    src = body.any_number()
    if src is None or draw.random() < 0.5:
        constant(body, 1)
    elif src != 1:
        code.mov(1, src)
    code.kfunc(callees.THROW, "")
    body.called(result=False)
    body.plan.tags.add("throw")


def leave(body: Body, *, show: bool = False) -> None:
    """The function's last instructions. The main function, and a callback, may show its registers in the array of values; with `show` it does."""
    draw, code = body.draw, body.code
    shows = body.signature.name == "main" or body.signature.callback == "loop"
    if shows and (show or draw.random() < 0.4):
        base = body.temporary()
        code.map_value(base, body.plan.values, 0)
        body.forget(1 << base)
        for at, reg in enumerate(REGS[body.numbers][: VALUE_SIZE // 8]):
            code.store(base, 8 * at, reg)
    if may_throw(body) and draw.random() < 0.15:
        _thrown(body)  # what follows is never reached
    _result(body)
    code.exit()


def may_throw(body: Body) -> bool:
    """Whether the function may throw exceptions."""
    plan = body.plan
    return body.signature in plan.functions[: plan.throwing] and not body.signature.quiet


def _result(body: Body) -> None:
    """r0 = what the function returns."""
    draw, code = body.draw, body.code
    src = body.any_number()
    if src is None:
        constant(body, 0)
    elif src:
        code.mov(0, src)
        body.copied(0, src)
    for reg in REGS[body.numbers & ~1]:
        if draw.random() < 0.4:
            code.put(
                draw.pick((isa.ALU, isa.ALU64, isa.ALU64)) | draw.pick((isa.ADD, isa.XOR, isa.SUB)) | isa.X,
                0,
                reg,
            )
    if body.signature.callback in ("loop", "each"):
        code.put(isa.ALU64 | isa.AND, 0, imm=draw.pick((0, 0, 0, 1)))
