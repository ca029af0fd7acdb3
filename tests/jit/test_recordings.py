"""Every accepted program of the recordings: the bytes must be those of a real 7.3.4 kernel, nothing masked."""

import pytest

from tests.jit.recordings import DEFAULT, compare, preset, records


@pytest.mark.parametrize(
    ("family", "accepted"), [("F1", 317), ("F2", 400), ("F3", 150), ("F4", 184), ("F5", 418), ("F6", 387)]
)
def test_accepted_programs(family: str, accepted: int) -> None:
    count = 0
    different = []
    for record in records("programs.jsonl.gz"):
        if record["family"] != family or not record["expect"]["accepted"]:
            continue
        count += 1
        got, want = compare(record, DEFAULT)
        if got != want:
            different.append((record["name"], got, want))
    assert not different, [name for name, _, _ in different]
    assert count == accepted


def test_without_bmi2() -> None:
    count = 0
    for record in records("programs_nobmi2.jsonl.gz"):
        count += 1
        got, want = compare(record, preset("7.3-nobmi2"))
        assert got == want, record["name"]
    assert count == 98
