"""A JIT that is a command: one process, a job a line on its standard input, an answer a line on its standard output."""

import json
import os
import selectors
import shlex
import subprocess
import time
from typing import Any, Final, Self

from bpf.errors import InputError

SECONDS: Final = 10.0  # for one answer
_MAX_LINE: Final = 64 << 20


class Command:
    """Asks a process, which is started at the first job, and again when it has ended: a command may answer one job and exit.

    Raises InputError from `__call__` when there is no such program, when it says no line in time, or no JSON.
    """

    def __init__(self, command: str, seconds: float = SECONDS) -> None:
        self.command = command
        self.seconds = seconds
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise InputError("JIT", repr(command), str(error)) from None
        if not self._words:
            raise InputError("JIT", repr(command), "names no program")
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, job: dict[str, Any]) -> object:
        """The answer to one job, as JSON."""
        line = self._ask(json.dumps(job).encode() + b"\n")
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise self._error(f"answers what is no JSON: {line[:60]!r}") from None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _ask(self, line: bytes) -> bytes:
        for fresh in (False, True):
            if self._process is None:
                self._start()
                fresh = True
            try:
                return self._exchange(line)
            except (BrokenPipeError, EOFError):
                status = self._ended()
                if fresh:
                    raise self._error(f"ended without an answer ({status})") from None
        raise AssertionError("unreachable")

    def _start(self) -> None:
        try:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(self._words, stdin=pipe, stdout=pipe)  # noqa: S603 - the user's own command
        except (OSError, ValueError) as error:
            raise self._error(getattr(error, "strerror", None) or str(error)) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)

    def _exchange(self, line: bytes) -> bytes:
        """Write the line and read one, both as far as the other side takes part, until the time is over."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        inward, outward = process.stdin.fileno(), process.stdout.fileno()
        got, rest = bytearray(), memoryview(line)
        end = time.monotonic() + self.seconds
        with selectors.DefaultSelector() as selector:
            selector.register(outward, selectors.EVENT_READ)
            selector.register(inward, selectors.EVENT_WRITE)
            while not got.endswith(b"\n"):
                left = end - time.monotonic()
                if left <= 0 or len(got) > _MAX_LINE:
                    self.close()
                    raise self._error(
                        f"said no line in {self.seconds:g} s" if left <= 0 else "says too long a line"
                    )
                for key, _ in selector.select(left):
                    if key.fd == outward:
                        piece = os.read(outward, 1 << 16)
                        if not piece:
                            raise EOFError
                        got += piece
                        continue
                    rest = rest[os.write(inward, rest[: 1 << 16]) :]
                    if not rest:
                        selector.unregister(inward)
        return bytes(got)

    def _ended(self) -> str:
        process = self._process
        assert process is not None
        try:
            status = process.wait(1.0)
        except subprocess.TimeoutExpired:
            status = 0
        self.close()
        return f"signal {-status}" if status < 0 else f"exit status {status}"

    def _error(self, what: str) -> InputError:
        return InputError("JIT", self._words[0], what)
