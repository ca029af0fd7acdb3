"""Small programs for the interpreter: text in, result out."""

from collections.abc import Callable, Sequence
from typing import Any

from bpf.asm import assemble
from bpf.insn import Insn
from bpf.program import Program, RunInput
from emu.interp import Interpreter
from emu.outcome import RunResult, Trap
from emu.runtime.callback import HelperResult
from emu.runtime.memory import Memory
from emu.runtime.world import World

_MEMORY = Memory()  # one for all worlds here: making it costs more than running a program


class Scripted(World):
    """A world whose helpers and kfuncs are functions of the test, by number and by name."""

    def __init__(
        self,
        program: Program,
        *,
        helpers: dict[int, Callable[..., HelperResult]] | None = None,
        kfuncs: dict[str, Callable[..., HelperResult]] | None = None,
        tails: dict[int, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(program, memory=_MEMORY, **options)
        self.helpers = helpers or {}
        self.kfuncs = kfuncs or {}
        self.tails = tails or {}

    def helper(self, number: int, args: Sequence[int]) -> HelperResult:
        return self.helpers[number](*args) if number in self.helpers else super().helper(number, args)

    def kfunc(self, name: str, args: Sequence[int]) -> HelperResult:
        return self.kfuncs[name](*args) if name in self.kfuncs else super().kfunc(name, args)

    def tail_target(self, map_addr: int, index: int) -> str | None:
        return self.tails.get(index) if map_addr else None


def program(code: str | Sequence[Insn], **fields: Any) -> Program:
    """Instructions, as text or as they are, as a program."""
    return Program("t", assemble(code) if isinstance(code, str) else tuple(code), **fields)


def execute(
    code: str | Sequence[Insn] | Program,
    run: RunInput | None = None,
    *,
    budget: int = 4_000_000,
    fill: int = 0xA5,
    **world: Any,
) -> RunResult:
    """One run in a new world."""
    given = code if isinstance(code, Program) else program(code)
    return Interpreter(Scripted(given, **world), budget=budget, fill=fill).run(run or RunInput())


def r0(code: str | Sequence[Insn] | Program, **options: Any) -> int:
    """r0 at the exit of a program that must not trap."""
    result = execute(code, **options)
    assert result.trap is None, result.trap
    return result.r0


def trap(code: str | Sequence[Insn] | Program, **options: Any) -> Trap:
    """The trap of a program that must trap."""
    result = execute(code, **options)
    assert result.trap is not None, result
    return result.trap
