"""What a campaign makes of answers: groups, causes, what is kept, and that the order of answers does not matter."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from bpf.errors import InputError
from emu.fuzz.campaign import Campaign, Limits
from emu.fuzz.finding import Finding
from emu.fuzz.state import BARREN, GROUPS, REDUCED, State
from emu.fuzz.store import Store
from emu.fuzz.tally import Tally, general
from emu.fuzz.tasks import CHUNK, Answer, Chunk, Config, Counted, Found, Shrink, Shrunk, Task

CONFIG = Config(0, "strict", ("one", "other"), ("engines",), coverage=False)
WRONG = Finding("engines", "result", "r0 differs", 3, 0)


def counted(start: int, stop: int, found: dict[int, str]) -> Counted:
    tally = Tally()
    for number in range(start, stop):
        share = tally.share(CONFIG.generator(number))
        share.cases += 1
        share.accepted += number % 10 != 0
    tally.forms.add(f"form{start}")
    return Counted(
        Chunk(start, stop),
        tally,
        tuple(Found(number, WRONG, found[number]) for number in range(start, stop) if number in found),
    )


def shrunk(task: Shrink, cause: str, insns: int) -> Shrunk:
    name = f"finding-{task.number}"
    return Shrunk(task, task.finding, cause, name, "one", 40, insns, f"text of {name}\n", "{}\n", 5)


class Scripted:
    """An executor that answers by table, in any order. found: case -> group; small: case -> (cause, instructions)."""

    workers = 3

    def __init__(self, found: dict[int, str], small: dict[int, tuple[str, int]], seed: int) -> None:
        self.found, self.small = found, small
        self.rng = random.Random(seed)
        self.tasks: list[Task] = []
        self.reduced: list[int] = []

    @property
    def asked(self) -> int:
        return len(self.tasks)

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def wait(self, seconds: float) -> list[Answer]:
        assert seconds > 0
        task = self.tasks.pop(self.rng.randrange(len(self.tasks)))
        if isinstance(task, Chunk):
            return [counted(task.start, task.stop, self.found)]
        self.reduced.append(task.number)
        return [shrunk(task, *self.small.get(task.number, ("plain", 9)))]

    def close(self) -> None:
        self.tasks.clear()


def finished(executor: Scripted, cases: int, store: Store | None = None) -> Campaign:
    campaign = Campaign(CONFIG, Limits(cases), executor, store)
    campaign.run()
    return campaign


class TestGroups:
    def test_the_shortest_program_of_a_cause_is_kept(self) -> None:
        found = {5: "a", 70: "a", 90: "a"}
        small = {5: ("cause", 9), 70: ("cause", 4), 90: ("cause", 4)}
        (kept,) = finished(Scripted(found, small, 0), 128).state.kept()
        assert (kept.entry.number, kept.entry.insns, kept.seen, kept.numbers) == (70, 4, 3, (5, 70, 90))

    def test_one_cause_may_show_in_several_groups(self) -> None:
        found, small = {1: "a", 2: "b", 3: "c"}, {1: ("x", 5), 2: ("x", 5), 3: ("y", 5)}
        kept = finished(Scripted(found, small, 0), 64).state.kept()
        assert [(one.entry.cause, one.entry.number, one.seen) for one in kept] == [("x", 1, 2), ("y", 3, 1)]

    def test_a_group_that_brings_nothing_new_is_done(self) -> None:
        executor = Scripted(dict.fromkeys(range(100), "a"), {}, 0)
        state = finished(executor, 128).state
        assert executor.reduced == list(range(BARREN + 1))
        assert [one.seen for one in state.kept()] == [100]
        assert state.unexplained() == 0

    def test_a_group_with_many_causes_is_reduced_so_often(self) -> None:
        small = {number: (f"cause {number}", 5) for number in range(100)}
        state = finished(Scripted(dict.fromkeys(range(100), "a"), small, 0), 128).state
        assert len(state.kept()) == REDUCED
        assert state.unexplained() == 100 - REDUCED

    def test_two_oracles_that_see_one_case_count_once(self) -> None:
        state = State()
        chunk = counted(0, 8, {})
        chunk = replace(chunk, found=(Found(3, WRONG, "a"), Found(3, replace(WRONG, oracle="sound"), "a")))
        state.apply(state.counted(chunk, 1.0))
        assert (state.found, len(state.groups["a"].first)) == (1, 1)

    def test_groups_beyond_the_limit_are_one(self) -> None:
        found = {number: f"group {number}" for number in range(GROUPS + 20)}
        state = State()
        for start in range(0, 256, CHUNK):
            state.apply(state.counted(counted(start, start + CHUNK, found), 1.0))
        assert len(state.groups) == GROUPS + 1
        assert state.groups["others"].seen == 20


FOUND = {number: f"group {number % 3}" for number in range(0, 300, 7)}
SMALL = {number: (f"cause {number % 5}", 3 + number % 11) for number in range(300)}


@pytest.mark.usefixtures("no_sync")
class TestOrder:
    """Decisions follow from numbers: workers may answer in any order."""

    def test_any_order_keeps_the_same(self, tmp_path: Path) -> None:
        files = []
        for seed in range(6):
            store = Store(tmp_path / str(seed), {})
            campaign = finished(Scripted(FOUND, SMALL, seed), 300, store)
            store.close()
            kept = [(one.entry, one.seen, one.numbers) for one in campaign.state.kept()]
            folder = sorted(
                (path.name, path.read_bytes()) for path in (tmp_path / str(seed) / "findings").iterdir()
            )
            files.append((kept, folder, sorted(campaign.executor.reduced)))  # type: ignore[attr-defined]
        assert all(one == files[0] for one in files)
        assert len(files[0][0]) == 5
        assert len(files[0][1]) == 10

    def test_a_log_tells_the_same_again(self, tmp_path: Path) -> None:
        store = Store(tmp_path, {})
        campaign = finished(Scripted(FOUND, SMALL, 1), 300, store)
        store.close()
        again = Store(tmp_path, {})
        state = State.of(again.lines, "log")
        again.close()
        assert state.kept() == campaign.state.kept()
        assert state.tally == campaign.state.tally
        assert state.number == 300

    def test_every_end_is_a_point_to_go_on_from(self, tmp_path: Path) -> None:
        """Cut off after any line, with the files as they were then or later, the rest comes out the same."""
        whole = Store(tmp_path / "whole", {})
        expected = finished(Scripted(FOUND, SMALL, 1), 300, whole).state.kept()
        whole.close()
        lines = (tmp_path / "whole" / "log.jsonl").read_bytes().splitlines(keepends=True)
        for count in range(0, len(lines), 7):
            folder = tmp_path / str(count)
            (folder / "findings").mkdir(parents=True)
            (folder / "log.jsonl").write_bytes(
                b"".join(lines[:count]) + lines[count][: len(lines[count]) // 2]
            )
            store = Store(folder, {})
            campaign = finished(Scripted(FOUND, SMALL, count), 300, store)
            store.close()
            assert campaign.state.kept() == expected

    @pytest.mark.parametrize(
        "line",
        [
            {},
            {"chunk": [32, 64], "at": 1, "tally": {"by": {}}},
            {"shrunk": [1, 2]},
            {"chunk": 5},
            {"stopgap": None},
        ],
    )
    def test_lines_that_no_campaign_wrote(self, line: dict[str, object]) -> None:
        with pytest.raises(InputError, match="log: line 1: is no event"):
            State.of([line], "log")


class TestStopping:
    def test_stopped_before_any_reduction_keeps_one_of_each_group_as_it_is(
        self, tiny: str, tmp_path: Path
    ) -> None:
        config = replace(CONFIG, generators=("tiny",), modules=(tiny,))
        store = Store(tmp_path, {})
        executor = Scripted({3: "a", 4: "a", 9: "b"}, {}, 0)
        campaign = Campaign(config, Limits(64), executor, store)
        campaign.watch = lambda running: running.stop.set() if running.state.found >= 3 else None
        result = campaign.run()
        assert result.stopped
        assert [(one.entry.number, one.entry.reduced) for one in result.kept] == [(3, False), (9, False)]
        names = {path.name for path in (tmp_path / "findings").iterdir()}
        assert {f"{one.entry.name}.bpf" for one in result.kept} <= names
        store.close()
        again = Store(tmp_path, {})
        final = Campaign(config, Limits(64), Scripted(executor.found, {}, 1), again).run()
        again.close()
        assert [(one.entry.name, one.seen) for one in final.kept] == [("finding-3", 3)]
        assert {path.name for path in (tmp_path / "findings").iterdir()} == {
            "finding-3.bpf",
            "finding-3.json",
        }

    def test_the_first_finding_is_enough(self) -> None:
        executor = Scripted({40: "a", 41: "b", 200: "c"}, {}, 0)
        campaign = Campaign(CONFIG, Limits(10_000, first=True), executor)
        result = campaign.run()
        assert executor.reduced == [40]
        assert [one.entry.number for one in result.kept] == [40]
        assert result.state.tally.cases < 1000


class TestTally:
    def test_json_and_back(self) -> None:
        tally = counted(0, 32, {}).tally
        tally.arguments.update({12: 3, 0: 1})
        tally.reasons["RN !read_ok"] += 2
        tally.arcs["verifier/env.py"] = {(-1, 3), (3, -1)}
        assert Tally.from_json(tally.to_json()) == tally

    def test_a_line_holds_what_is_new(self) -> None:
        known, more = counted(0, 32, {}).tally, counted(32, 64, {}).tally
        more.forms |= known.forms
        assert more.without(known).forms == {"form32"}
        known.add(more.without(known))
        assert known.cases == 64
        assert known.forms == {"form0", "form32"}

    @pytest.mark.parametrize(
        ("said", "counted_as"),
        [
            ("R2 invalid mem access 'scalar'", "RN invalid mem access 'scalar'"),
            ("invalid read from stack off -16+0 size 8", "invalid read from stack off N+N size N"),
            ("stack arg1 is not initialized", "stack argN is not initialized"),
            (
                "math between fp pointer and 0x1f is not allowed",
                "math between fp pointer and N is not allowed",
            ),
        ],
    )
    def test_equal_reasons_count_as_one(self, said: str, counted_as: str) -> None:
        assert general(said) == counted_as
