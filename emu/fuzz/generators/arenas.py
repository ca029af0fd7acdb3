"""Arenas: pages that a program allocates, addresses in them in both forms, accesses on pages and where there are none."""

from bpf import isa
from bpf.maps import MapSpec, MapType
from emu.fuzz.generators.body import PARAMS, REGS, TEMPORARY, Body
from emu.fuzz.generators.draw import Draw

PAGE = 4096
_PAGES = 8
_MMAPABLE, _NO_USER_CONV = 1 << 10, 1 << 18
_USERS = (
    1 << 44,
    (1 << 44) + 0x12340000,
    0x7F00FFFF0000,
)  # the last one's pages end near a multiple of 4 GiB
_PLACES = (
    0,
    1,
    4,
    8,
    64,
    2040,
    4080,
    4088,
    4092,
    4096,
    4104,
    8184,
    8190,
    8192,
    -8,
    -4,
    -1,
    -4096,
    32767,
    -32768,
)
_SIZES = (isa.B, isa.H, isa.W, isa.DW)
_CAST = isa.ALU64 | isa.MOV | isa.X
_TO_KERNEL, _TO_USER = 1, 1 << 16
_ATOMICS = (
    isa.ADD,
    isa.OR,
    isa.AND,
    isa.XOR,
    isa.ADD | isa.FETCH,
    isa.XCHG,
)  # the others that fetch are refused
_ARITHMETIC = (isa.ADD, isa.ADD, isa.SUB, isa.AND, isa.OR, isa.XOR)


def arena(draw: Draw) -> MapSpec:
    """A map of a few pages, none of which is there yet."""
    flags = _MMAPABLE | (_NO_USER_CONV if draw.chance(0.2) else 0)
    return MapSpec("arena", MapType.ARENA, 0, 0, _PAGES, flags=flags, extra=draw.pick(_USERS))


def visit(body: Body, index: int) -> bool:
    """An address in the arena, a few accesses through it, and the user's form of it as a number.

    index: of the map. Whether there was room for it. The pointer is forgotten afterwards.
    """
    draw, code = body.draw, body.code
    calls = body.plan.prog_type == "syscall" and not body.locked & (TEMPORARY | 1 << PARAMS)
    allocates = calls and draw.chance(0.7)
    free = [reg for reg in REGS[0x3FF & ~body.locked & ~body.loaded] if reg not in body.pointers]
    if body.loops or len(free) < 3 or body.any_number() is None:
        return False
    if allocates:
        _allocate(body, index)
        start = 0
    else:
        start = draw.pick(free)
        code.map_value(start, index, draw.pick((0, 0, PAGE, 5 * PAGE - 8, 8 * PAGE - 1)))
        body.number(start)
    pointer = draw.pick([reg for reg in free if reg != start] if draw.chance(0.7) else [start])
    code.put(_CAST, pointer, start, isa.OFF_ADDR_SPACE_CAST, _TO_KERNEL)
    body.forget(1 << pointer)
    locked, body.locked = body.locked, body.locked | 1 << pointer
    for _ in range(draw.between(1, 6)):
        _use(body, pointer)
    body.locked = locked
    to = draw.pick((pointer, pointer, *free))
    code.put(_CAST, to, pointer, isa.OFF_ADDR_SPACE_CAST, _TO_USER)
    body.forget(1 << pointer)
    body.number(to)
    body.plan.tags.add("arena")
    return True


def _allocate(body: Body, index: int) -> None:
    draw, code = body.draw, body.code
    user = body.plan.maps[index].extra
    code.map(1, index)
    if draw.chance(0.6):
        code.mov_imm(2, 0)
    else:
        code.wide(2, user + draw.pick((0, 1, 3, 7, 8)) * PAGE + draw.pick((0, 0, 0, 8)))
    code.mov_imm(3, draw.pick((0, 1, 1, 1, 2, 3, 9)))
    name = "bpf_arena_alloc_pages"
    if draw.chance(0.15):
        name = draw.pick(("bpf_arena_free_pages", "bpf_arena_reserve_pages"))
    else:
        code.mov_imm(4, -1)
        code.mov_imm(5, draw.pick((0, 0, 0, 0, 1)))
    code.kfunc(name, "")
    body.called()
    if name != "bpf_arena_alloc_pages":
        code.map_value(0, index, draw.pick((0, PAGE)))
        body.number(0)


def _use(body: Body, pointer: int) -> None:
    """One instruction that goes through the pointer, or changes it."""
    draw, code = body.draw, body.code
    kind, size, off = draw.random(), draw.pick(_SIZES), draw.pick(_PLACES)
    number = body.any_number()
    if kind < 0.3:
        signed = size != isa.DW and draw.chance(0.3)
        dst = body.load_target()
        code.put(isa.LDX | (isa.MEMSX if signed else isa.MEM) | size, dst, pointer, off)
        body.number(dst)
    elif kind < 0.5 and number is not None:
        code.put(isa.STX | isa.MEM | size, pointer, number, off)
    elif kind < 0.6:
        code.put(isa.ST | isa.MEM | size, pointer, 0, off, draw.imm())
    elif kind < 0.8:
        _atomic(body, pointer, draw.pick((isa.W, isa.DW)), off & -8)
    elif number is not None and draw.chance(0.4):
        code.put(isa.ALU64 | draw.pick(_ARITHMETIC) | isa.X, pointer, number)
    else:
        op = draw.pick(_ARITHMETIC)
        imm = (
            draw.pick((8, PAGE, -8, -PAGE, 4088))
            if op in (isa.ADD, isa.SUB) and draw.chance(0.8)
            else draw.imm()
        )
        code.put(isa.ALU64 | op, pointer, imm=imm)


def _atomic(body: Body, pointer: int, size: int, off: int) -> None:
    draw, code = body.draw, body.code
    kind, reg = draw.random(), body.changeable()
    if kind < 0.2:
        dst = body.load_target()
        code.put(isa.STX | isa.ATOMIC | size, dst, pointer, off, isa.LOAD_ACQ)
        body.number(dst)
    elif kind < 0.3 and reg is not None:
        code.put(isa.STX | isa.ATOMIC | size, pointer, reg, off, isa.STORE_REL)
    elif kind < 0.45 and reg is not None and body.numbers & 1 and not body.locked & 1:
        code.put(isa.STX | isa.ATOMIC | size, pointer, reg, off, isa.CMPXCHG)
        body.number(0)
    elif reg is not None:
        operation = draw.pick(_ATOMICS)
        code.put(isa.STX | isa.ATOMIC | size, pointer, reg, off, operation)
        body.number(reg)
