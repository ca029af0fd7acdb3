"""The page of a trace in a real browser without a network: what it shows, step by step, by keys and by mouse."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from emu.trace.page import page
from emu.trace.trace import Insn, Source, Trace, walk
from tests.emu.browser import Browser, Tab, chromium
from tests.emu.trace_kit import traced

HOSTILE = (
    "</script><img src=x onerror=alert(1)><script>window.broken = 1</script>&lt;b&gt;\u202e\u2028\x1b\ud800"
)
LOST = "arguments-7-8-swapped"


@pytest.fixture(scope="module")
def browser(outside: Callable[[str], str]) -> Iterator[Browser]:
    with chromium(outside("chromium")) as made:
        yield made


class Shown:
    """A trace in a tab."""

    def __init__(
        self, browser: Browser, tmp_path: Path, trace: Trace, fragment: str = "", **window: int | bool
    ) -> None:
        file = tmp_path / "trace.html"
        file.write_text(page(trace), encoding="utf-8")
        self.trace = trace
        self.tab: Tab = browser.open(file, fragment, **window)  # type: ignore[arg-type]  # width, height, dark

    @property
    def step(self) -> int:
        found = re.match(r"step (\d+) of (\d+)", self.tab.text("#count"))
        assert found is not None
        assert int(found[2]) == len(self.trace.steps) - 1
        return int(found[1])

    def keys(self, *keys: str) -> int:
        for key in keys:
            self.tab.press(key)
        return self.step

    def now(self, pane: str) -> str | None:
        """The highlighted line of a pane."""
        found = self.tab.evaluate(f"(document.querySelector('#{pane} .line.now') || {{}}).innerText")
        return found if found is None else " ".join(str(found).split())

    def rows(self, selector: str) -> list[list[str]]:
        """The cells of a table's rows."""
        script = f"[...document.querySelectorAll({json.dumps(selector)})].map((row) => [...row.children].map((cell) => cell.innerText.trim()))"
        found: list[list[str]] = self.tab.evaluate(script)
        return found

    def quiet(self) -> None:
        """Nothing went wrong, and nothing was asked for but the file itself."""
        assert self.tab.errors == []
        assert [url.rpartition("/")[2].partition("#")[0] for url in self.tab.requests] == ["trace.html"]


def test_it_opens_at_the_first_difference(browser: Browser, tmp_path: Path) -> None:
    trace = traced("kfunc12", LOST)
    shown = Shown(browser, tmp_path, trace)
    assert shown.step == trace.stop
    assert shown.tab.text("#verdict") == "differs"
    assert "argument 8 is stored in the wrong place" in shown.tab.text("#here")
    assert shown.tab.text("#cut") == "the trace ends at the first difference"
    shown.quiet()


def test_every_step_shows_its_instructions(browser: Browser, tmp_path: Path) -> None:
    """BPF, source and native code at each step, on a path through all of them with the right arrow."""
    trace = traced("kfunc_many_args", prog="kf_memory")
    shown = Shown(browser, tmp_path, trace)
    shown.keys("Home")
    seen = set()
    for number, step in enumerate(trace.steps):
        assert shown.step == number
        function = trace.functions[step.function]
        native = next((one for one in function.natives if one.off == (step.addr or 0) - function.addr), None)
        line = shown.now("native")
        assert (line is None) == (step.addr is None)
        if native is not None and line is not None:
            assert f"{native.off:04x} {' '.join(native.text.split())} {native.code.hex()}" in line
        insn = next((one for one in trace.programs[0].insns if one.number == step.insn), None)
        if insn is not None:
            assert shown.now("bpf") == f"{insn.number} {insn.text}"
            assert insn.source is not None
            source = trace.programs[0].sources[insn.source]
            assert shown.now("source") == " ".join([str(source.line), *source.text.split()])
            seen.add(source.line)
        shown.keys("ArrowRight")
    assert shown.step == len(trace.steps) - 1
    assert len(seen) >= 4
    shown.quiet()


def test_registers_and_stack_are_those_of_the_trace(browser: Browser, tmp_path: Path) -> None:
    """Forwards by key, then far back: the page adds up deltas, and has to start again from what it kept."""
    trace = traced("callback")
    states = {number: (dict(state.regs), dict(state.words)) for number, _, state in walk(trace)}
    shown = Shown(browser, tmp_path, trace)
    for number in (0, 40, len(trace.steps) - 1, 60, 59, 61):
        shown.tab.evaluate(f"show({number})")
        regs, words = states[number]
        rows = {row[1]: row[3].split()[0] for row in shown.rows("#regs tbody tr") if len(row) == 4 and row[3]}
        for name in ("rax", "rbx", "rdi", "rsp", "rbp", "r13"):
            assert rows[name] == hex(regs[name]), (number, name)
        stack = [row for row in shown.rows("#stack tbody tr") if len(row) == 4]
        for row in stack:
            addr = next(
                one for one in range(regs["rsp"] - 16, regs["rsp"] + 4096, 8) if hex(one).endswith(row[1])
            )
            assert int(row[2], 16) == words.get(addr, 0xA5A5A5A5A5A5A5A5), (number, row)
        assert [row[1] for row in stack if "rsp" in row[0]] == [hex(regs["rsp"])[-6:]]
    shown.quiet()


def test_words_have_their_owners(browser: Browser, tmp_path: Path) -> None:
    trace = traced("reverse12")
    shown = Shown(browser, tmp_path, trace, f"#step={trace.calls[1].step}")
    owners = [row[3] for row in shown.rows("#stack tbody tr") if len(row) == 4]
    assert owners[0].startswith("return address of main")
    assert "argument 8 of reverse12 long h" in owners
    assert "saved r13 (r7) caller's r13" in owners
    assert "r10-8" in owners
    assert any(one.startswith("outgoing argument 8 of okf_sum12 at insn 35, by insn 27") for one in owners)
    assert owners[-1] == "below rsp"


def test_calls_are_shown_with_their_marks(browser: Browser, tmp_path: Path) -> None:
    trace = traced("kfunc12", LOST, through=True)
    call = next(one for one in trace.calls if one.callee == "okf_sum12")
    shown = Shown(browser, tmp_path, trace, f"#step={call.step}")
    rows = shown.rows("#call tbody tr")
    assert [row[0] for row in rows if "≠" in row[4]] == ["7", "8"]
    assert rows[6][4] == f"interp. {call.args[6].shown[0]}\nsandbox {call.args[6].shown[1]} ≠"
    assert rows[8][4] == call.args[8].shown[0]
    assert rows[6][1:4] == ["u64 g", "r11-16", "[rsp+0x0] → [rsp+0x8]"]
    assert "calls okf_sum12" in shown.tab.text("#call caption")
    assert [row[0] for row in shown.rows("#regs tr.parts")] == ["r11-16", "r11-24"]


def test_keys(browser: Browser, tmp_path: Path) -> None:
    trace = traced("deep")
    shown = Shown(browser, tmp_path, trace)
    calls = [call.step for call in trace.calls]
    assert shown.keys("Home") == 0
    assert shown.keys("n") == calls[0]
    inside = shown.keys("ArrowRight")
    assert inside == calls[0] + 1
    assert shown.keys("u") == calls[0]
    over = shown.keys("o")
    assert (trace.steps[over].insn, trace.steps[over].function) == (15, 0)
    assert shown.keys("p") == calls[1]
    assert shown.keys("p") == calls[0]
    assert shown.keys("ArrowDown") > calls[0] + 1  # past the prologue
    assert trace.steps[shown.step].begins
    assert shown.keys("ArrowUp") == calls[0]
    assert shown.keys("End") == len(trace.steps) - 1
    assert shown.keys("ArrowRight") == len(trace.steps) - 1
    assert shown.keys("d") == len(trace.steps) - 1
    assert shown.tab.text("#said") == "nothing differs in this trace"
    shown.quiet()


def test_differences_one_after_the_other(browser: Browser, tmp_path: Path) -> None:
    trace = traced("kfunc12", LOST, through=True)
    places = list(dict.fromkeys(one.step for one in trace.findings))
    assert len(places) > 2
    shown = Shown(browser, tmp_path, trace, "#step=0")
    assert [shown.keys("d") for _ in range(3)] == places[:3]
    shown.tab.click('[data-go="first"]')
    shown.tab.click('[data-go="difference"]')
    assert shown.step == places[0]


def test_the_mouse(browser: Browser, tmp_path: Path) -> None:
    trace = traced("map_loop12")
    shown = Shown(browser, tmp_path, trace, "#step=0")
    shown.tab.click("#bpf .line:nth-child(6)")
    first = shown.step
    assert trace.steps[first].begins
    insn = trace.steps[first].insn
    assert shown.now("bpf") is not None
    shown.tab.click("#list li:nth-child(2) button")
    assert shown.step == trace.calls[1].step
    shown.tab.click('[data-go="on"]')
    assert shown.step == trace.calls[1].step + 1
    shown.tab.evaluate(
        "document.querySelector('#slider').value = 7; document.querySelector('#slider').dispatchEvent(new Event('input'))"
    )
    assert shown.step == 7
    assert insn is not None
    shown.quiet()


def test_a_value_leads_to_what_wrote_it(browser: Browser, tmp_path: Path) -> None:
    trace = traced("reverse12")
    shown = Shown(browser, tmp_path, trace, f"#step={trace.calls[1].step}")
    shown.tab.evaluate(
        "[...document.querySelectorAll('#stack tr')].find((row) => row.innerText.includes('outgoing argument 9')).querySelector('.v').click()"
    )
    step = trace.steps[shown.step]
    assert step.insn == 26  # *(u64 *)(r11 -32) = r4
    assert trace.steps[shown.step + 1].words
    assert "was written here" in shown.tab.text("#said")


@pytest.mark.parametrize(
    ("text", "where"),
    [("35", lambda step: step.insn == 35 and step.begins), ("#5", None), ("0x75", lambda step: step.insn == 35), ("R5 = r8", lambda step: step.insn == 34), ("0xffffffffc0000000", None)],
)  # fmt: skip
def test_going_to(browser: Browser, tmp_path: Path, text: str, where: Callable[..., bool] | None) -> None:
    trace = traced("reverse12")
    shown = Shown(browser, tmp_path, trace, f"#step={trace.calls[1].step - 3}")
    shown.keys("/")
    shown.tab.call("Input.insertText", text=text)
    shown.keys("Enter")
    if where is not None:
        assert where(trace.steps[shown.step]), trace.steps[shown.step]
    else:
        assert shown.step == (5 if text == "#5" else 0)
    shown.quiet()


def test_what_is_not_reached_is_said(browser: Browser, tmp_path: Path) -> None:
    shown = Shown(browser, tmp_path, traced("reverse12"), "#step=3")
    for text in ("9999", "#9999", "0x1", "no such thing"):
        shown.tab.evaluate(f"jump({json.dumps(text)})")
        assert shown.step == 3
        assert shown.tab.text("#said")


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    """Names, instructions, lines and messages may hold anything; none of it becomes markup or script."""
    trace = traced("kfunc_many_args", prog="kf_memory")
    program = trace.programs[0]
    insns = tuple(Insn(one.number, HOSTILE, one.source) for one in program.insns)
    sources = tuple(Source(HOSTILE, one.line, HOSTILE) for one in program.sources)
    bad = replace(
        trace,
        name=HOSTILE,
        file=HOSTILE,
        cut=HOSTILE,
        programs=(replace(program, name=HOSTILE, insns=insns, sources=sources, starts=((0, HOSTILE),)),),
        functions=tuple(replace(one, name=HOSTILE, params=(HOSTILE,)) for one in trace.functions),
        calls=tuple(replace(one, callee=HOSTILE) for one in trace.calls),
        shapes=tuple(
            tuple(replace(row, what=HOSTILE, note=HOSTILE) for row in rows) for rows in trace.shapes
        ),
        names=dict.fromkeys(trace.names, HOSTILE),
    )
    text = page(bad)
    assert text.count("<script") == 2
    assert text.count("</script") == 2
    text.encode()
    shown = Shown(browser, tmp_path, bad)
    shown.keys("End", "n", "Home", "ArrowDown")
    assert shown.tab.evaluate("typeof window.broken") == "undefined"
    assert shown.tab.evaluate("document.images.length") == 0
    assert shown.tab.text("#name").startswith("</script><img src=x")
    assert "\u202e" not in shown.tab.evaluate("document.body.innerText")
    shown.quiet()


def test_nothing_else_may_run_in_it(browser: Browser, tmp_path: Path) -> None:
    """The policy holds: a script that somebody adds is refused, and so is a picture from elsewhere."""
    shown = Shown(browser, tmp_path, traced("reverse12"))
    shown.tab.evaluate(
        "const one = document.createElement('script'); one.textContent = 'window.broken = 1'; document.body.append(one)"
    )
    assert shown.tab.evaluate("typeof window.broken") == "undefined"
    assert any("Content Security Policy" in error for error in shown.tab.errors)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page(traced("reverse12")))


@pytest.mark.parametrize(
    ("width", "height", "dark"),
    [(1280, 800, False), (1280, 720, True), (800, 900, False), (800, 600, True), (500, 900, False)],
)
def test_it_fits(browser: Browser, tmp_path: Path, width: int, height: int, dark: bool) -> None:
    """No sideways scrolling of the page; every pane has room; the colours are those that the reader prefers."""
    shown = Shown(
        browser, tmp_path, traced("kfunc_many_args", prog="kf_memory"), width=width, height=height, dark=dark
    )
    shown.keys("n")
    assert shown.tab.evaluate("document.documentElement.scrollWidth") <= width
    boxes = shown.tab.evaluate(
        "[...document.querySelectorAll('section')].map((one) => [one.id, one.clientWidth, one.querySelector('.scroll').clientHeight])"
    )
    assert all(box[1] >= 240 and box[2] >= 40 for box in boxes), boxes
    ink = shown.tab.evaluate("getComputedStyle(document.body).color.match(/\\d+/g).map(Number)")
    assert (min(ink) > 128) == dark


def test_it_can_be_used_without_a_mouse(browser: Browser, tmp_path: Path) -> None:
    """Everything that can be clicked is a button or a field with a name, and focus is seen."""
    shown = Shown(browser, tmp_path, traced("deep", "no-leave"))
    nameless = shown.tab.evaluate(
        "[...document.querySelectorAll('button, input')].filter((one) => !one.innerText.trim() && !one.labels?.length && !one.getAttribute('aria-label') && !one.title).length"
    )
    assert nameless == 0
    shown.keys("Tab", "Tab")
    outline = shown.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    assert shown.tab.evaluate("document.querySelector('.line.now').getAttribute('aria-current')") == "step"


def test_a_long_trace_stays_small() -> None:
    """Some hundred bytes a step, however deep the stack is."""
    trace = traced("map_loop12")
    fixed = sum(
        len(files("emu.trace").joinpath(name).read_text())
        for name in ("page.html", "page.css", "page.js", "view.js", "state.js")
    )
    assert (len(page(trace)) - fixed) / len(trace.steps) < 400


def test_the_page_is_part_of_the_package() -> None:
    for name in ("page.html", "page.css", "page.js", "view.js", "state.js"):
        assert files("emu.trace").joinpath(name).is_file()
