"""The folder of a campaign: what was asked, what has been done, and a file for each finding.

    campaign.json       what was asked; another question for the same folder is refused
    log.jsonl           one line an event, appended; what a campaign knows is what these lines say
    findings/NAME.bpf   a finding, and NAME.json, its request

A line is written after the files that it speaks of. Ended at any moment, the campaign goes on where its last whole line
ends. Knows nothing of what the lines mean.
"""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Final

from bpf.errors import InputError

ASKED: Final = "campaign.json"
LOG: Final = "log.jsonl"
FINDINGS: Final = "findings"
LOCK: Final = "lock"
SYNC: Final = 2.0  # seconds after which lines that tell of no finding are on the disk at the latest

Line = dict[str, Any]


class FullError(InputError):
    """The folder takes no more: a full disk, a quota, a limit on the size of files."""


class Store:
    """folder: made when it is missing. asked: what this campaign is, as JSON.

    `lines` are the events so far. Raises InputError when the folder cannot be used, belongs to a campaign that was asked
    something else, or to one that runs right now; FullError when it cannot be written to.
    """

    def __init__(self, folder: Path, asked: Mapping[str, object]) -> None:
        self.folder = folder
        self.lines: list[Line] = []
        self._synced = 0.0
        self._lock: IO[str] | None = None
        self._log: IO[bytes] | None = None
        try:
            (folder / FINDINGS).mkdir(parents=True, exist_ok=True)
            self._lock = (folder / LOCK).open("w", encoding="utf-8")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._compare(dict(asked))
            self.lines = self._read()
            self._log = (folder / LOG).open("ab", buffering=0)
        except BlockingIOError:
            self.close()
            raise InputError(str(folder), "", "another campaign is writing to it") from None
        except OSError as error:
            self.close()
            raise self._failure(error) from None
        except InputError:
            self.close()
            raise

    def _compare(self, asked: dict[str, object]) -> None:
        path = self.folder / ASKED
        if not path.exists():
            self._write(path, json.dumps(asked, indent=1) + "\n")
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            apart = [key for key in asked if before.get(key) != asked[key]]
        except (ValueError, AttributeError):
            raise InputError(str(path), "", "is no description of a campaign") from None
        if apart:
            said = ", ".join(f"{key} {_short(before.get(key))} not {_short(asked[key])}" for key in apart)
            raise InputError(str(self.folder), "", f"holds another campaign: {said}")

    def _read(self) -> list[Line]:
        """The events of the log; what stands behind the last whole line is cut off."""
        path = self.folder / LOG
        if not path.exists():
            return []
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        lines = []
        for number, text in enumerate(data[:whole].splitlines(), 1):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if not isinstance(line, dict):
                raise InputError(str(path), f"line {number}", "is no JSON object")
            lines.append(line)
        if whole < len(data):
            os.truncate(path, whole)
        return lines

    def append(self, line: Mapping[str, object], *, sync: bool = False) -> None:
        """Add an event. sync: it has to be on the disk now. Raises FullError."""
        assert self._log is not None
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        at = os.fstat(self._log.fileno()).st_size
        try:
            while data:
                data = data[self._log.write(data) or 0 :]
            now = time.monotonic()
            if sync or now - self._synced > SYNC:
                os.fsync(self._log.fileno())
                self._synced = now
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._log.fileno(), at)
            raise self._failure(error) from None

    def keep(self, name: str, files: Mapping[str, str]) -> None:
        """Write the files of a finding, by ending; each is there whole or not at all. Raises FullError."""
        try:
            for ending, text in files.items():
                self._write(self.folder / FINDINGS / f"{name}.{ending}", text)
        except OSError as error:
            raise self._failure(error) from None

    def read(self, name: str, ending: str) -> str:
        """A file of a finding, "" where somebody has taken it away."""
        try:
            return (self.folder / FINDINGS / f"{name}.{ending}").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def forget(self, names: Iterable[str]) -> None:
        """Remove the files of findings that others stand for now, whatever their endings."""
        for name in names:
            for path in (self.folder / FINDINGS).glob("*"):
                if path.name.partition(".")[0] == name:
                    path.unlink(missing_ok=True)

    def _write(self, path: Path, text: str) -> None:
        draft = path.with_name(f".{path.name}.new")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _failure(self, error: OSError) -> InputError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        why = error.strerror or str(error)
        if full:
            return FullError(
                str(self.folder), "", f"cannot be written: {why}; the same command goes on when it can"
            )
        return InputError(str(error.filename or self.folder), "", why)

    def close(self) -> None:
        """Let another campaign have the folder."""
        for file in (self._log, self._lock):
            if file is not None:
                file.close()


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return (text or "none")[:60]
