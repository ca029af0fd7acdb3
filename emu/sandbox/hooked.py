"""Every instruction of the image and every access of the native stack, for as long as a `with` lasts."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from emu.sandbox import addresses
from emu.sandbox.sandbox import Sandbox


class Hooked(ABC):
    """Context manager: inside of it `_step` is called before each instruction, and `_access` at each access.

    A run takes some fifty times as long. sandbox: whose machine is watched; _handles: of its hooks.
    """

    __slots__ = ()
    sandbox: Sandbox
    _handles: list[int]

    @abstractmethod
    def _step(self, addr: int) -> None:
        """The instruction at `addr` is about to run."""

    @abstractmethod
    def _access(self, write: bool, addr: int, size: int) -> None:
        """It writes or reads `size` bytes of the stack."""

    def __enter__(self) -> Self:
        self.sandbox.machine.hooked = True
        cpu = self.sandbox.machine.cpu
        last = addresses.IMAGE + addresses.IMAGE_SIZE - 1
        self._handles.append(cpu.on_code(addresses.IMAGE, last, cpu.code_hook(self._step)))
        top = addresses.STACK + addresses.STACK_SIZE - 1
        self._handles.append(cpu.on_access(addresses.STACK, top, self._access))
        cpu.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sandbox.machine.hooked = False
        cpu = self.sandbox.machine.cpu
        for handle in self._handles:
            cpu.unhook(handle)
        self._handles.clear()
        cpu.flush()
