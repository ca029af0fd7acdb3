"""Ctrl-C while native code runs: an exception raised inside of a callback from C may be lost, so none is raised there."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

_DEFAULT = signal.default_int_handler


class Interruptible:
    """Context manager: inside of it SIGINT calls `stop`; at its end KeyboardInterrupt is raised.

    Does nothing outside of the main thread, or where SIGINT is handled in another way than Python's own.
    """

    __slots__ = ("_asked", "_mine", "_stop")

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._mine = self._asked = False

    def __enter__(self) -> None:
        self._asked = False
        main = threading.current_thread() is threading.main_thread()
        self._mine = main and signal.getsignal(signal.SIGINT) is _DEFAULT
        if self._mine:
            signal.signal(signal.SIGINT, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        self._stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mine:
            signal.signal(signal.SIGINT, _DEFAULT)
        if self._asked:
            raise KeyboardInterrupt
