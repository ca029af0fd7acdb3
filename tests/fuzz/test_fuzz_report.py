"""Reports of results that hold anything: hostile text, nothing at all, very much."""

import io
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from emu.fuzz.campaign import Program, Result
from emu.fuzz.coverage import Reach
from emu.fuzz.finding import Finding
from emu.fuzz.report import junit, page, table
from emu.fuzz.report.numbers import Numbers, share, summary_json
from emu.fuzz.report.plots import Bar, bars, columns, curve
from emu.fuzz.state import State
from emu.fuzz.tally import Tally
from emu.fuzz.tasks import Chunk, Config, Counted, Found, Shrink, Shrunk
from tests.fuzz.markup import Page

HOSTILE = "<script>alert(1)</script>\"'&amp;]]>\x1b[31m\x00\u202e"
CONFIG = Config(7, "kernel", ("calls", HOSTILE), ("engines",), coverage=False)


def result(config: Config = CONFIG, cases: int = 64) -> Result:
    """A campaign with one finding in case 3, whose every word is hostile."""
    state = State()
    programs = {}
    if cases:
        tally = Tally()
        for number in range(cases):
            tally.share(config.generator(number)).cases += 1
        tally.share("calls").accepted = 30
        tally.reasons[HOSTILE] = 12
        tally.arguments.update({0: 4, 12: 9})
        tally.arcs["verifier/env.py"] = {(1, 2)}
        finding = Finding(HOSTILE, HOSTILE, HOSTILE, 1, 0)
        state.apply(state.counted(Counted(Chunk(0, cases), tally, (Found(3, finding, HOSTILE),)), 1.5))
        shrunk = Shrunk(
            Shrink(3, finding, HOSTILE), finding, HOSTILE, HOSTILE, HOSTILE, 40, 9, HOSTILE, "{}", 5
        )
        state.apply(state.shrunk(shrunk))
        programs[HOSTILE] = Program(HOSTILE, "{}")
    return Result(config, state, state.kept(), programs, 2.0, stopped=True)


def numbers(made: Result) -> Numbers:
    return replace(Numbers.of(made), reached=(Reach("verifier", 10, 20, 3, 8),))


class TestHostile:
    def test_page(self) -> None:
        read = Page(page.render(numbers(result()), HOSTILE).decode())
        assert read.open == []
        assert "script" not in read.seen
        assert "<script>alert(1)</script>" in read.text

    def test_junit(self) -> None:
        root = ET.fromstring(junit.render(numbers(result()), HOSTILE))
        texts = [failure.text or "" for failure in root.iter("failure")]
        assert len(texts) == 1
        assert "<script>alert(1)</script>" in texts[0]
        assert "\\x1b[31m" in texts[0]

    @pytest.mark.parametrize("folder", [None, HOSTILE])
    def test_text(self, folder: str | None) -> None:
        out = io.StringIO()
        table.show(Console(file=out, width=160), numbers(result()), folder)
        assert "<script>alert(1)</script>" in out.getvalue()
        assert "\x1b" not in out.getvalue()
        assert "\x00" not in out.getvalue()
        assert "\u202e" not in out.getvalue()

    def test_json(self) -> None:
        summary = json.loads(json.dumps(summary_json(numbers(result()), "out")))
        assert [found["cause"] for found in summary["findings"]] == [HOSTILE]


class TestNothing:
    """Stopped before the first case."""

    def test_page(self) -> None:
        read = Page(page.render(numbers(result(cases=0)), None).decode())
        assert read.open == []
        assert "Nothing was found" in read.text

    def test_text(self) -> None:
        out = io.StringIO()
        table.show(Console(file=out, width=160), numbers(result(cases=0)), None)
        assert "0 cases stopped after 2 s, 0 a second, nothing found" in out.getvalue()

    def test_share(self) -> None:
        assert (share(0, 0), share(1, 3), share(3, 3)) == ("", "33.3 %", "100.0 %")


class TestPlots:
    @pytest.mark.parametrize(
        "points", [[], [(0.0, 0.0)], [(0.0, 0.0), (0.001, 1.0)], [(0.0, 0.0), (86400.0, 5e8), (1e5, 6e8)]]
    )
    def test_curve(self, points: list[tuple[float, float]]) -> None:
        drawn = ET.fromstring(curve(points, HOSTILE[:30], "cases"))
        line = drawn.find("polyline")
        assert line is not None
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 640
            assert 0 <= y <= 220

    def test_bars_stay_inside(self) -> None:
        drawn = ET.fromstring(
            bars([Bar(HOSTILE[:30], 5, 0, "x"), Bar("b", 9, 3, "y"), Bar("c", 1, 2, "z")], "all")
        )
        backs = [float(bar.attrib["width"]) for bar in drawn.iter("rect") if bar.attrib["class"] == "back"]
        fronts = [float(bar.attrib["width"]) for bar in drawn.iter("rect") if bar.attrib["class"] == "bar"]
        assert fronts == [backs[1], backs[2] / 2]

    def test_columns_are_as_high_as_their_counts(self) -> None:
        drawn = ET.fromstring(columns([("0", 0), ("1", 50), ("2", 100)], "arguments", "calls"))
        high = [float(bar.attrib["height"]) for bar in drawn.iter("rect")]
        assert (high[0], high[1] * 2) == (0, high[2])
