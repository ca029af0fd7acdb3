"""A campaign as one HTML file that needs nothing else: figures, plots, and every finding with its program.

Programs under test may hold any text; all of it is escaped, and the page forbids itself scripts and the network.
"""

from collections.abc import Iterable, Sequence
from html import escape

from emu.fuzz.coverage import ALL_FORMS
from emu.fuzz.report.numbers import Numbers, plain, share
from emu.fuzz.report.plots import Bar, bars, columns, curve
from emu.fuzz.state import Kept

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6878; --paper: #fbfbfc; --card: #fff; --edge: #dfe3e8;
  --bar: #3b6fb6; --area: #3b6fb61f; --bad: #b3261e; --good: #2c7a4b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #98a3b3; --paper: #14171c; --card: #1c2027;
  --edge: #303743; --bar: #7aa7e8; --area: #7aa7e826; --bad: #ff8f86; --good: #74cf98; } }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .7rem; }
p.lead { margin: .2rem 0 1.4rem; color: var(--soft); } .bad { color: var(--bad); } .good { color: var(--good); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; }
.tile, figure { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: .8rem 1rem; margin: 0; }
.tile b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; } .tile span { color: var(--soft); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(28rem, 1fr)); gap: 1rem; }
figcaption { font-weight: 600; margin-bottom: .4rem; } svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 12px; } .grid { stroke: var(--edge); } .line { fill: none; stroke: var(--bar); stroke-width: 2; }
.area { fill: var(--area); } .bar { fill: var(--bar); } .back { fill: var(--edge); opacity: .55; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .45rem .7rem; border-bottom: 1px solid var(--edge);
  vertical-align: top; } th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
details { margin-top: .3rem; } summary { cursor: pointer; color: var(--soft); }
pre { background: var(--paper); border: 1px solid var(--edge); border-radius: 6px; padding: .7rem 1rem; overflow-x: auto;
  font: 12.5px/1.45 ui-monospace, monospace; } code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
p.note { color: var(--soft); }
"""


def render(numbers: Numbers, folder: str | None) -> bytes:
    """The page, UTF-8. folder: of the campaign, None where nothing is kept."""
    config = numbers.result.config
    title = f"bpfemu fuzz: seed {config.seed}, {config.mode} mode"
    body = [
        f"<h1>{_text(title)}</h1>",
        _lead(numbers),
        _tiles(numbers),
        "<h2>Findings</h2>",
        _findings(numbers, folder),
        "<h2>What was tried</h2>",
        _plots(numbers),
        _reasons(numbers),
        _missing(numbers),
    ]
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
    )
    return f"{head}<body>\n{_lines(body)}\n</body></html>\n".encode()


def _text(text: str) -> str:
    """As it may stand in a page."""
    return escape(plain(text))


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


def _lead(numbers: Numbers) -> str:
    result = numbers.result
    config = result.config
    words = [f"generators {', '.join(config.generators)}", f"oracles {', '.join(config.oracles)}"]
    if config.mutant:
        words.append(f"with the planted fault {config.mutant}")
    if result.stopped:
        words.append("stopped before its end")
    return f'<p class="lead">{_text("; ".join(words))}</p>'


def _tiles(numbers: Numbers) -> str:
    result = numbers.result
    tally = result.state.tally
    kept = len(result.kept)
    minutes, seconds = divmod(int(result.seconds), 60)
    verdict = f'<b class="{"bad" if kept else "good"}">{kept}</b>'
    tiles = [
        (f"<b>{tally.cases:,}</b>", "cases"),
        (verdict, "finding" if kept == 1 else "findings"),
        (f"<b>{share(tally.accepted, tally.cases) or '-'}</b>", "accepted by the verifier"),
        (f"<b>{minutes}:{seconds:02}</b>", "minutes"),
        (f"<b>{tally.cases / result.seconds if result.seconds else 0:,.0f}</b>", "cases a second"),
        (f"<b>{numbers.forms} / {len(ALL_FORMS)}</b>", "instruction forms"),
    ]
    inner = "".join(f'<div class="tile">{figure}<span>{_text(what)}</span></div>' for figure, what in tiles)
    return f'<div class="tiles">{inner}</div>'


def _findings(numbers: Numbers, folder: str | None) -> str:
    result = numbers.result
    if not result.kept:
        return '<p class="good">Nothing was found.</p>'
    rows = [_finding(numbers, one, folder) for one in result.kept]
    more = result.state.unexplained()
    note = (
        f'<p class="note">{more:,} complaints more are like these, but have not been reduced.</p>'
        if more
        else ""
    )
    head = '<tr><th>cause and program</th><th>found by</th><th>case</th><th class="n">instructions</th><th class="n">seen in</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>{note}"


def _finding(numbers: Numbers, one: Kept, folder: str | None) -> str:
    entry = one.entry
    text = numbers.result.programs[entry.name].text
    size = f"{entry.insns} of {entry.before}" if entry.reduced else f"{entry.insns}, not reduced"
    file = (
        f"<div><code>{_text(f'{folder}/findings/{entry.name}.bpf')}</code></div>"
        if folder is not None
        else ""
    )
    program = f"<details><summary>program</summary><pre>{_text(text)}</pre></details>"
    return (
        f'<tr><td><b class="bad">{_text(entry.cause)}</b><div>{_text(entry.finding.message)}</div>{file}{program}</td>'
        f"<td>{_text(entry.finding.oracle)}: {_text(entry.finding.kind)}</td>"
        f"<td>{_text(entry.generator)} {entry.number}</td>"
        f'<td class="n">{_text(size)}</td><td class="n">{one.seen:,}</td></tr>'
    )


def _plots(numbers: Numbers) -> str:
    state = numbers.result.state
    tally = state.tally
    generators = [
        Bar(name, one.accepted, one.cases, f"{share(one.accepted, one.cases)} of {one.cases:,}")
        for name, one in sorted(tally.by.items())
    ]
    reached = [
        Bar("instruction forms", numbers.forms, len(ALL_FORMS), f"{numbers.forms} of {len(ALL_FORMS)}")
    ]
    for one in numbers.reached:
        pairs = (("branches", one.branches, one.all_branches), ("lines", one.lines, one.all_lines))
        reached += [
            Bar(f"{one.package} {what}", part, whole, f"{part:,} of {whole:,}") for what, part, whole in pairs
        ]
    note = f'<p class="note">Branches: {_text(numbers.unmeasured)}.</p>' if numbers.unmeasured else ""
    calls = [(str(count), tally.arguments.get(count, 0)) for count in range(max(13, *tally.arguments, 0))]
    figures = [
        ("Cases over time", curve(_points(state.points), "seconds", "cases")),
        ("Accepted by the verifier, by generator", bars(generators, "accepted share by generator")),
        ("Reached", bars(reached, "coverage") + note),
        ("Calls made, by number of arguments", columns(calls, "arguments", "calls by number of arguments")),
    ]
    inner = "".join(
        f"<figure><figcaption>{_text(what)}</figcaption>{plot}</figure>" for what, plot in figures
    )
    return f'<div class="plots">{inner}</div>'


def _points(points: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    return [(seconds, float(cases)) for seconds, cases in points]


def _reasons(numbers: Numbers) -> str:
    reasons = numbers.result.state.tally.reasons
    if not reasons:
        return ""
    first = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:25]
    rows = "".join(
        f'<tr><td><code>{_text(reason)}</code></td><td class="n">{count:,}</td></tr>'
        for reason, count in first
    )
    more = f'<p class="note">and {len(reasons) - 25} rarer ones</p>' if len(reasons) > 25 else ""
    return f'<h2>Why programs were not accepted</h2><table><tr><th>reason</th><th class="n">cases</th></tr>{rows}</table>{more}'


def _missing(numbers: Numbers) -> str:
    if not numbers.missing:
        return ""
    return f"<h2>Instruction forms that no accepted program held</h2><p><code>{_text(', '.join(numbers.missing))}</code></p>"
