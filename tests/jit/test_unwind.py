"""Backtraces from every native instruction of a chain of calls, on a stack that was made by executing the code."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bpf import isa
from bpf.insn import Insn
from bpf.program import Program
from bpf.verified import Subprog, Verified
from jit import PRESETS, compile_program, place
from jit.image import Image, Layout
from jit.unwind import Activation, unwind

_unicorn: Any = importlib.import_module("unicorn")  # Any: it has only half of its types
_x86: Any = importlib.import_module("unicorn.x86_const")
CODE, STACK, END = 0x10000, 0x40000, 0x20000
REGISTERS: dict[str, int] = {
    name: getattr(_x86, f"UC_X86_REG_{name.upper()}")
    for name in ("rip", "rsp", "rbp", "rbx", "r12", "r13", "r14", "r15")
}
OUTSIDE = {"rbp": 0xB5, "rbx": 0xB3, "r12": 0xC, "r13": 0xD, "r14": 0xE, "r15": 0xF}
EXIT = Insn(isa.OP_EXIT)


def _mov(dst: int, imm: int) -> Insn:
    return Insn(isa.ALU64 | isa.MOV | isa.K, dst, imm=imm)


def _chain() -> Image:
    """main -> middle (8 arguments out) -> leaf, each with registers of its own."""
    store = isa.ST | isa.MEM | isa.DW
    insns = (
        _mov(6, 1),
        Insn(isa.OP_CALL, 0, isa.PSEUDO_CALL, 0, 1),
        EXIT,
        _mov(7, 2),
        _mov(6, 3),
        *(Insn(store, isa.REG_PARAMS, 0, -8 * k, k) for k in (1, 2, 3)),
        Insn(isa.OP_CALL, 0, isa.PSEUDO_CALL, 0, 1),
        EXIT,
        _mov(9, 4),
        _mov(1, 9),
        Insn(isa.ALU64 | isa.DIV | isa.X, 9, 1),
        _mov(0, 0),
        EXIT,
    )
    subs = (
        Subprog("main", 0, 3, "main", 1, 40),
        Subprog("middle", 3, 10, "static", 0, 0, 0, 3),
        Subprog("leaf", 10, 15, "static", 8, 16, 3),
    )
    return compile_program(
        Verified(Program("t", insns), insns, tuple(range(15)), subs), PRESETS["7.3-nobmi2"]
    )


class _Run:
    """The chain as it runs; at every instruction the backtrace."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.layout = Layout((CODE, CODE + 0x400, CODE + 0x200), {})
        self.traces: list[list[Activation]] = []
        self.cpu: Any = _unicorn.Uc(_unicorn.UC_ARCH_X86, _unicorn.UC_MODE_64)
        self.cpu.mem_map(CODE, 0x20000)
        self.cpu.mem_map(STACK, 0x4000)
        for addr, code in zip(self.layout.functions, place(image, self.layout), strict=True):
            self.cpu.mem_write(addr, code)
        for name, value in OUTSIDE.items():
            self.cpu.reg_write(REGISTERS[name], value)
        self.cpu.reg_write(REGISTERS["rsp"], STACK + 0x3000)
        self.cpu.mem_write(STACK + 0x3000, END.to_bytes(8, "little"))
        self.cpu.hook_add(_unicorn.UC_HOOK_CODE, self._step, begin=CODE, end=END - 1)
        self.cpu.emu_start(CODE, END)

    def read(self, addr: int) -> int:
        return int.from_bytes(self.cpu.mem_read(addr, 8), "little")

    def _step(self, *_ignored: object) -> None:
        now = {name: self.cpu.reg_read(number) for name, number in REGISTERS.items()}
        self.traces.append(list(unwind(self.image, self.layout, now, self.read)))


@pytest.fixture(scope="module")
def run() -> _Run:
    return _Run(_chain())


def test_every_instruction_has_its_whole_backtrace(run: _Run) -> None:
    functions = [[one.number for one in trace] for trace in run.traces]
    assert functions[0] == functions[-1] == [0]
    assert [2, 1, 0] in functions
    assert all(trace in ([0], [1, 0], [2, 1, 0]) for trace in functions)
    assert len(functions) > 50


def test_the_callers_registers_are_found_on_the_way(run: _Run) -> None:
    def outermost(trace: list[Activation]) -> Mapping[str, int]:
        last = trace[-1]
        found = dict(last.registers)
        for reg, at in last.moment.cfi.saved.items():
            found[reg] = run.read(last.address(at))
        return found

    # After the run the stack still holds what was pushed; only the traces of the deepest function prove the most.
    assert run.traces
    for trace in run.traces:
        cfas = [one.cfa for one in trace]
        assert cfas == sorted(cfas)
        assert cfas[-1] == STACK + 0x3008
    deepest = next(trace for trace in run.traces if len(trace) == 3)
    found = outermost(deepest)
    assert found["rip"] == END
    middle, main = deepest[1], deepest[2]
    assert (middle.registers["r13"], middle.registers["rbx"]) == (2, 3)
    assert (main.registers["rbx"], main.registers["r13"]) == (1, OUTSIDE["r13"])
    assert (middle.insn, main.insn) == (8, 1)


def test_outside_of_the_image_there_is_nothing(run: _Run) -> None:
    def nothing(_addr: int) -> int:
        raise AssertionError

    there = {"rip": END, "rsp": STACK, "rbp": 0}
    assert list(unwind(run.image, run.layout, there, nothing)) == []


def test_a_broken_stack_ends_the_trace(run: _Run) -> None:
    """Words that lead back into the image for ever."""
    inside = {"rip": CODE + run.image.functions[0].prologue, "rsp": STACK, "rbp": STACK + 8}
    trace: Iterator[Activation] = unwind(run.image, run.layout, inside, lambda _addr: CODE + 40)
    assert [one.off for one in trace] == [inside["rip"] - CODE]


def test_what_reading_raises_comes_through(run: _Run) -> None:
    def fails(_addr: int) -> int:
        raise OSError("no memory there")

    there = {"rip": CODE, "rsp": STACK, "rbp": 0}
    with pytest.raises(OSError, match="no memory there"):
        list(unwind(run.image, run.layout, there, fails))
