"""Where variables are, and how long: arguments, BPF registers, and what is global. An argument's register holds it until
somebody writes it."""

from collections.abc import Iterator, Sequence

from bpf import isa
from bpf.btf_types import Kind
from bpf.maps import MapType
from bpf.proto import CType, Param
from emu.gdb.cfi import NUMBERS
from emu.gdb.debug_info import Variable, Where
from emu.gdb.types import AnyType, BtfRef
from emu.runtime.world import World
from emu.sandbox.images import Function
from emu.sandbox.uses import CALL, use_of
from jit.argflow import register
from jit.decoder import new_decoder
from jit.frame import WORD

REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
WORD_TYPE = CType("int", "u64", 64)


def parameters(
    params: Sequence[Param], addr: int, ends: dict[str, int], types: Sequence[AnyType] = ()
) -> tuple[Variable, ...]:
    """The parameters of the function at `addr`. ends: register -> first address at which its argument is gone.

    types: fuller ones than those of `params`, if there are.
    """
    return tuple(
        Variable(param.name or f"arg{number}", kind, _where(number, addr, ends))
        for number, (param, kind) in enumerate(zip(params, types or [p.type for p in params], strict=True), 1)
    )


def registers(function: Function) -> tuple[Variable, ...]:
    """r0 to r10 of a compiled function; r10 is there behind the instruction that makes it."""
    assert function.image is not None
    native, sub = function.image.functions[function.number], function.image.verified.subprogs[function.number]
    if not native.offsets:
        return ()  # another compiler has its registers where it likes
    out = []
    for number in range(isa.FP + 1):
        start = (native.frame.body if sub.private_stack else native.frame.rbp_from) if number == isa.FP else 0
        where = Where(NUMBERS[register(sub, number)], low=function.addr + start, high=function.end)
        out.append(Variable(f"r{number}", WORD_TYPE, where))
    return tuple(out)


def unnamed(count: int) -> tuple[Param, ...]:
    """Parameters of which nothing is known but their number."""
    return tuple(Param(f"arg{number}", WORD_TYPE) for number in range(1, count + 1))


def _where(number: int, addr: int, ends: dict[str, int]) -> Where:
    if number > len(REGISTERS):
        return Where(cfa=WORD * (number - len(REGISTERS) - 1))
    name = REGISTERS[number - 1]
    return Where(NUMBERS[name], low=addr, high=max(ends[name], addr + 1))


def ends_of(code: bytes, addr: int, entered: Sequence[int] = ()) -> dict[str, int]:
    """For each argument register the first address at which it may hold something else, in straight line from `addr`.

    The line ends at a call, and at the first address that is jumped to from behind; entered: addresses that may be, too.
    """
    end = min([addr + len(code), *_backward(code, addr), *entered])
    ends: dict[str, int] = {}
    at = addr
    while at < end and len(ends) < len(REGISTERS):
        use = use_of(code[at - addr : at - addr + 16], at)
        gone = REGISTERS if use.kind == CALL else use.writes & set(REGISTERS)
        for name in gone:
            ends.setdefault(name, at + 1)  # it is still there before the instruction
        at += use.size
    return {name: ends.get(name, end) for name in REGISTERS}


def _backward(code: bytes, addr: int) -> Iterator[int]:
    """Targets of jumps that lead backwards."""
    for at, _, name, operands in new_decoder().disasm_lite(code, addr):
        if name.startswith("j") and operands.startswith("0x"):
            target = int(operands, 16)
            if addr <= target <= at:
                yield target


def globals_of(world: World) -> Iterator[Variable]:
    """The global variables of the program: those of BTF's data sections whose map there is."""
    btf = world.program.btf
    for index, spec in enumerate(world.program.maps if btf is not None else ()):
        assert btf is not None
        section = btf.find(spec.name, Kind.DATASEC)
        if section is None or spec.type != MapType.ARRAY:
            continue
        base = world.map_value(index, 0)
        for one in btf.type(section).vars:
            kind = btf.type(one.type)
            if kind.kind is Kind.VAR and 0 <= one.offset <= spec.value_size - one.size:
                yield Variable(kind.name, BtfRef(btf, kind.type), Where(address=base + one.offset))
