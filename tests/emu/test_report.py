"""What a person sees: nothing is cut off, however narrow the terminal is."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from emu.commands.run import with_input
from emu.load import load_file
from emu.pipeline import Options, Pipeline
from emu.report import call_tables, print_results, say

OBJECT = Path(__file__).parents[2] / "fixtures" / "objects" / "rej_slots.bpf.o"


def shown(width: int, *, terminal: bool = True) -> Console:
    return Console(file=StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_verdict_and_remark_is_readable(width: int) -> None:
    pipeline = Pipeline()
    cases = [pipeline.run(item.request, item.others) for item in load_file(str(OBJECT))]
    out = shown(width)
    print_results(out, cases)
    text = text_of(out)
    assert "…" not in text
    assert "EINVAL: stack arg write offset -64 exceeds max 7 stack args" in " ".join(text.split())
    assert [text.count(word) for word in ("agrees", "rejected")] == [1, 7]


def test_both_engines_trapping_is_no_plain_agreement(tmp_path: Path) -> None:
    file = tmp_path / "null.bpf"
    file.write_text("prog tc\nlong main(void *ctx):\n    r1 = 0\n    r0 = *(u64 *)(r1 +0)\n    exit\n")
    (item,) = load_file(str(file))
    out = shown(200)
    print_results(out, [Pipeline(Options(unverified=True)).run(item.request)])
    assert "both trap" in text_of(out)
    assert "read of 8 bytes at 0x0" in text_of(out)


def test_calls_beyond_the_limit_are_counted() -> None:
    file = Path(__file__).parents[2] / "fixtures" / "objects" / "kfunc_many_args.bpf.o"
    item = next(item for item in load_file(str(file)) if item.request.program.name == "kf_sums")
    request = with_input(item.request, {"data_in": None, "ctx_in": None})
    case = Pipeline().run(request, item.others)
    tables = call_tables(case, limit=2)
    assert len(tables) == 3
    assert str(tables[-1]).startswith("run 1: 4 more calls")


def test_lines_are_wrapped_on_a_terminal_only() -> None:
    for terminal, lines in ((True, 2), (False, 1)):
        out = shown(60, terminal=terminal)
        say(out, "word " * 20, indent=2)
        assert len(text_of(out).splitlines()) == lines
