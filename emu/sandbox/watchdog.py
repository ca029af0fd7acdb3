"""Ends endless code: a thread that stops the processor when one run takes too long.

A limit by instruction count would halve the speed of every run, and Unicorn's own timeout starts a thread a run.
"""

import threading
import time
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

    def begin(self) -> None:
        """A run starts now."""
        self._run += 1  # in this order it takes no lock: whoever looks on sees a new run, and stops nothing
        self._fired = False
        self._active = True
        if not self._wake.is_set():
            self._start()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # a fork has no threads but its own
            self._thread = threading.Thread(target=self._watch, name="sandbox watchdog", daemon=True)
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

    def _watch(self) -> None:
        seen, since, worked, idle = -1, 0.0, 0.0, 0
        while not self._closed:
            self._wake.wait()
            time.sleep(_TICK)
            with self._lock:
                now, work = time.monotonic(), time.process_time()
                if self._run != seen or not self._active:
                    idle = 0 if self._run != seen else idle + 1
                    seen, since, worked = self._run, now, work
                elif now - since > self.seconds and work - worked > _SHARE * self.seconds:
                    # Under the lock: the run cannot end, and the next begin, between the look and the stop.
                    self._fired = True
                    self._stop()
                if idle > _IDLE:
                    idle = 0
                    self._wake.clear()
