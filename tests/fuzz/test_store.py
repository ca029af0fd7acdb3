"""The folder of a campaign: whole lines, whole files, one owner, and a disk that may be full."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bpf.errors import InputError
from emu.fuzz.store import FullError, Store

ASKED: dict[str, object] = {"seed": 1, "generators": ["calls", "isa"]}


def opened(folder: Path, asked: dict[str, object] | None = None) -> Store:
    return Store(folder, ASKED if asked is None else asked)


def test_lines_come_back(tmp_path: Path) -> None:
    store = opened(tmp_path / "new" / "folder")
    store.append({"one": 1})
    store.append({"two": "ä"}, sync=True)
    store.close()
    again = opened(tmp_path / "new" / "folder")
    assert again.lines == [{"one": 1}, {"two": "ä"}]
    again.close()


@pytest.mark.parametrize("torn", [b'{"three"', b"{", b'{"three": 3}', b"\x00" * 40])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    store = opened(tmp_path)
    store.append({"one": 1})
    store.close()
    with (tmp_path / "log.jsonl").open("ab") as log:
        log.write(torn)
    again = opened(tmp_path)
    assert again.lines == [{"one": 1}]
    again.append({"two": 2})
    again.close()
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"one":1}\n{"two":2}\n'


def test_a_damaged_line_is_told(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / "log.jsonl").write_bytes(b'{"one": 1}\nrubbish\n{"three": 3}\n')
    with pytest.raises(InputError, match=r"log\.jsonl: line 2: is no JSON object"):
        opened(tmp_path)


def test_another_question_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(
        InputError, match=r"holds another campaign: seed 1 not 2, generators calls, isa not calls$"
    ):
        opened(tmp_path, {"seed": 2, "generators": ["calls"]})
    opened(tmp_path).close()


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_folder_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "campaign.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"campaign\.json: is no description of a campaign"):
        opened(tmp_path)


def test_one_campaign_at_a_time(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(InputError, match="another campaign is writing to it"):
        opened(tmp_path)
    store.close()
    opened(tmp_path).close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="Not a directory"):
        opened(tmp_path / "file" / "folder")


def test_findings_are_there_whole_and_go_whole(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.keep("a-1", {"bpf": "text", "json": "{}"})
    store.keep("a-12", {"bpf": "text", "c": "int x;"})
    store.forget(["a-1", "missing"])
    assert sorted(path.name for path in (tmp_path / "findings").iterdir()) == ["a-12.bpf", "a-12.c"]
    assert store.read("a-12", "bpf") == "text"
    assert store.read("a-1", "bpf") == ""
    store.close()


class TestFull:
    """Every call that writes may be the one that fails."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_a_line_is_there_whole_or_not_at_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        store = opened(tmp_path)
        store.append({"one": 1})
        monkeypatch.setattr("os.fsync", failing(number))
        with pytest.raises(
            FullError, match=f"cannot be written: {os.strerror(number)}; the same command goes on"
        ):
            store.append({"two": 2}, sync=True)
        monkeypatch.undo()
        store.close()
        assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
            {"one": 1}
        ]

    def test_no_half_of_a_finding(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = opened(tmp_path)
        store.keep("a", {"bpf": "old"})
        monkeypatch.setattr("os.fsync", failing(errno.ENOSPC))
        with pytest.raises(FullError):
            store.keep("a", {"bpf": "new"})
        monkeypatch.undo()
        assert [path.name for path in (tmp_path / "findings").iterdir()] == ["a.bpf"]
        assert store.read("a", "bpf") == "old"
        store.close()

    def test_full_before_it_begins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.fsync", failing(errno.ENOSPC))
        with pytest.raises(FullError):
            opened(tmp_path)
        monkeypatch.undo()
        opened(tmp_path).close()


def failing(number: int) -> Callable[[int], None]:
    def fail(_file: int) -> None:
        raise OSError(number, os.strerror(number))

    return fail
