"""Ends endless code: a thread that stops the processor when one run takes too long.

A limit by instruction count would halve the speed of every run, and Unicorn's own timeout starts a thread a run.
"""

import threading
import time
import weakref
from collections.abc import Callable

_TICK = 0.02  # seconds between looks; the limit is kept to this precision
_IDLE = 50  # looks without a run after which the thread goes to sleep
_SHARE = 0.25  # of the seconds of a run, that the process must have worked


class Watchdog:
    """Calls `stop` again and again while a run is older than `seconds`. Starts its thread with the first run.

    A run grows older while the process gets processor time: a machine that stands still ends no run.
    """

    def __init__(self, stop: Callable[[], None], seconds: float) -> None:
        self.seconds = seconds
        self._stop = stop
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._run = 0
        self._active = False
        self._fired = False
        self._closed = False
        self._seen, self._since, self._worked, self._quiet = -1, 0.0, 0.0, 0  # of the thread

    def begin(self) -> None:
        """A run starts now."""
        self._run += 1  # in this order it takes no lock: whoever looks on sees a new run, and stops nothing
        self._fired = False
        self._active = True
        if not self._wake.is_set():
            self._start()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # a fork has no threads but its own
            # Weakly, so that a machine that nobody uses any more goes, and its thread with it.
            target, given = _watch, (weakref.ref(self), self._wake)
            self._thread = threading.Thread(target=target, args=given, name="sandbox watchdog", daemon=True)
            self._thread.start()
        self._wake.set()

    def end(self) -> bool:
        """The run is over; returns whether it was stopped from here."""
        with self._lock:
            self._active = False
            return self._fired

    def close(self) -> None:
        """Let the thread end."""
        self._closed = True
        self._wake.set()

    def __del__(self) -> None:
        self.close()

    def _look(self) -> bool:
        """What the thread does every _TICK: whether it goes on."""
        with self._lock:
            now, work = time.monotonic(), time.process_time()
            if self._run != self._seen or not self._active:
                self._quiet = 0 if self._run != self._seen else self._quiet + 1
                self._seen, self._since, self._worked = self._run, now, work
            elif now - self._since > self.seconds and work - self._worked > _SHARE * self.seconds:
                # Under the lock: the run cannot end, and the next begin, between the look and the stop.
                self._fired = True
                self._stop()
            if self._quiet > _IDLE:
                self._quiet = 0
                self._wake.clear()
        return not self._closed


def _watch(watchdog: "weakref.ref[Watchdog]", wake: threading.Event) -> None:
    goes_on = True
    while goes_on:
        wake.wait()
        time.sleep(_TICK)
        found = watchdog()
        goes_on = found is not None and found._look()  # noqa: SLF001 - its own thread
        del found
