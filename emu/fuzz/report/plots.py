"""Pictures of a report: SVG text that stands inside a page and takes its colours from the page's style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 640, 220  # of a curve, in units of its own
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 12, 42
_ROW, _LABEL, _FIGURE = 26, 170, 150  # of bars: height of a row, room for its name and for its figure


@dataclass(frozen=True, slots=True)
class Bar:
    """name, part of whole, and the figure that stands behind it."""

    name: str
    part: float
    whole: float
    figure: str


def curve(points: Sequence[tuple[float, float]], across: str, up: str) -> str:
    """A line through (x, y), both from 0. across, up: what the axes are."""
    last_x = max((x for x, _ in points), default=0.0) or 1.0
    last_y = max((y for _, y in points), default=0.0) or 1.0
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    out = [_open(WIDTH, HEIGHT, f"{up} over {across}")]
    for value in _ticks(last_y):
        y = _TOP + high * (1 - value / last_y)
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(_text(_LEFT - 8, y + 4, _number(value), "end"))
    below = HEIGHT - _BOTTOM + 18
    out += [_text(_LEFT + wide * value / last_x, below, _number(value), "middle") for value in _ticks(last_x)]
    out.append(_text(WIDTH - _RIGHT, HEIGHT - 6, across, "end"))
    path = " ".join(
        f"{_LEFT + wide * x / last_x:.1f},{_TOP + high * (1 - y / last_y):.1f}" for x, y in points
    )
    base = _TOP + high
    out.append(f'<polygon class="area" points="{_LEFT},{base} {path} {WIDTH - _RIGHT},{base}"/>')
    out.append(f'<polyline class="line" points="{path}"/>')
    return "".join([*out, "</svg>"])


def bars(rows: Sequence[Bar], about: str) -> str:
    """One row a bar, as long as its part of its whole."""
    room = WIDTH - _LABEL - _FIGURE
    out = [_open(WIDTH, _ROW * len(rows) + 4, about)]
    for number, row in enumerate(rows):
        y = _ROW * number
        length = room * min(1.0, row.part / row.whole) if row.whole else 0.0
        out.append(f"<g><title>{escape(row.name)}: {escape(row.figure)}</title>")
        out.append(_text(_LABEL - 10, y + 18, row.name, "end"))
        out.append(
            f'<rect class="back" x="{_LABEL}" y="{y + 6}" width="{room}" height="{_ROW - 10}" rx="3"/>'
        )
        if length:
            out.append(
                f'<rect class="bar" x="{_LABEL}" y="{y + 6}" width="{max(length, 2):.1f}" height="{_ROW - 10}" rx="3"/>'
            )
        out.append(_text(_LABEL + room + 10, y + 18, row.figure, "start"))
        out.append("</g>")
    return "".join([*out, "</svg>"])


def columns(counts: Sequence[tuple[str, int]], across: str, about: str) -> str:
    """One column a name, as high as its count."""
    most = max((count for _, count in counts), default=0) or 1
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = wide / max(1, len(counts))
    out = [_open(WIDTH, HEIGHT, about)]
    for value in _ticks(most):
        y = _TOP + high * (1 - value / most)
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(_text(_LEFT - 8, y + 4, _number(value), "end"))
    for number, (name, count) in enumerate(counts):
        x, tall = _LEFT + step * number, max(high * count / most, 1.0 if count else 0.0)
        out.append(f"<g><title>{escape(name)}: {count:,}</title>")
        out.append(
            f'<rect class="bar" x="{x + step * 0.15:.1f}" y="{_TOP + high - tall:.1f}" '
            f'width="{step * 0.7:.1f}" height="{tall:.1f}" rx="2"/>'
        )
        out.append(_text(x + step / 2, HEIGHT - _BOTTOM + 18, name, "middle"))
        out.append("</g>")
    out.append(_text(WIDTH - _RIGHT, HEIGHT - 6, across, "end"))
    return "".join([*out, "</svg>"])


def _open(width: int, height: int, about: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(about)}">'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _ticks(last: float) -> list[float]:
    """Four or so round values from 0 to `last`."""
    raw = last / 4
    power = 10 ** floor(log10(raw))
    step = next(unit * power for unit in (1, 2, 2.5, 5, 10) if unit * power >= raw)
    return [step * number for number in range(int(last / step + 1e-9) + 1)]


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e4 else f"{value:,g}"
