"""Frames as an SVG picture: one column of stack words a function, high addresses on top, as kernel people draw it.

Self-contained: no scripts, fonts or files from elsewhere; colours for light and for dark surroundings. Knows frames and
prototypes, no code.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from bpf import isa
from jit.argflow import ArgumentFlow, Callee, function
from jit.frame import Frame
from jit.image import Image
from jit.picture import Row, private, rbp, rows, sixth, spell
from jit.regmap import REGMAP
from jit.x64.registers import NAMES64

_WIDTH: Final = 760
_BOX_X: Final = 120
_BOX_W: Final = 380
_NOTE_X: Final = _BOX_X + _BOX_W + 14
_ROW: Final = 26
_HEAD: Final = 74  # above the first row of a function
_GAP: Final = 30
_MARGIN: Final = 24
_LEGEND: Final = 34
_CHAR: Final = 7.3  # width of a letter of the mono font at 12 px, with a little room

# owner: (what it means, light fill, light edge, dark fill, dark edge)
_OWNERS: Final = {
    "caller": ("arguments in (the caller's)", "#dbeafe", "#2563eb", "#1e3a5f", "#60a5fa"),
    "link": ("return address, rbp", "#e5e7eb", "#6b7280", "#374151", "#9ca3af"),
    "stack": ("program stack", "#dcfce7", "#16a34a", "#14432a", "#4ade80"),
    "count": ("tail-call count", "#f3e8ff", "#9333ea", "#3b2460", "#c084fc"),
    "saved": ("saved registers", "#fef3c7", "#d97706", "#4a3410", "#fbbf24"),
    "outgoing": ("arguments out", "#ffe4e6", "#e11d48", "#551426", "#fb7185"),
}
_STYLE: Final = (
    "text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#111827}"
    ".t{font-size:15px;font-weight:bold}.d{fill:#4b5563}.p{font-weight:bold}.e{text-anchor:end}"
    ".bg{fill:#ffffff}.a{fill:#111827}.l{stroke:#9ca3af}"
    + "".join(f".{name}{{fill:{row[1]};stroke:{row[2]}}}" for name, row in _OWNERS.items())
    + "@media(prefers-color-scheme:dark){text,.a{fill:#f3f4f6}.d{fill:#9ca3af}.bg{fill:#111827}.l{stroke:#6b7280}"
    + "".join(f".{name}{{fill:{row[3]};stroke:{row[4]}}}" for name, row in _OWNERS.items())
    + "}"
)


@dataclass(slots=True)
class _Canvas:
    parts: list[str] = field(default_factory=list)
    y: int = _MARGIN

    def text(self, x: float, y: float, words: str, cls: str = "", room: float = 0) -> None:
        """room: pixels; longer text is cut."""
        if room and len(words) * _CHAR > room:
            words = words[: max(int(room / _CHAR) - 1, 0)] + "…"
        style = f' class="{cls}"' if cls else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{style}>{_clean(words)}</text>')

    def rect(self, x: int, y: int, width: int, height: int, cls: str, tip: str = "") -> None:
        title = f"<title>{_clean(tip)}</title>" if tip else ""
        shape = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" class="{cls}"'
        self.parts.append(f"{shape}>{title}</rect>" if title else f"{shape}/>")


def _clean(words: str) -> str:
    """Names come from anywhere: what XML does not allow becomes a replacement character."""
    allowed = (
        c if c >= " " and not 0xD800 <= ord(c) < 0xE000 and c not in "\ufffe\uffff" else "\ufffd"
        for c in words
    )
    return escape("".join(allowed))


def svg(images: Iterable[Image]) -> str:
    """All functions of `images`, one below the other, as an SVG document with its final newline."""
    canvas = _Canvas()
    owners: set[str] = set()
    for image in images:
        for number in range(len(image.functions)):
            owners |= _draw(canvas, image, number)
            canvas.y += _GAP
    _legend(canvas, owners)
    height = canvas.y + _MARGIN
    body = "\n".join(canvas.parts)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"<title>Stack frames</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="bg" width="{_WIDTH}" height="{height}" rx="8"/>\n{body}\n</svg>\n'
    )


def _legend(canvas: _Canvas, owners: set[str]) -> None:
    x = _MARGIN
    for name, (meaning, *_) in _OWNERS.items():
        if name not in owners:
            continue
        width = 22 + round(len(meaning) * _CHAR) + 14
        if x + width > _WIDTH - _MARGIN:
            x, canvas.y = _MARGIN, canvas.y + 22
        canvas.rect(x, canvas.y, 14, 14, name)
        canvas.text(x + 22, canvas.y + 11.5, meaning, "d")
        x += width
    canvas.y += _LEGEND - 14


def _draw(canvas: _Canvas, image: Image, number: int) -> set[str]:
    """One function; returns the owners that occur."""
    verified, compiled = image.verified, image.functions[number]
    frame, me = compiled.frame, function(verified, number)
    flow = ArgumentFlow(verified, number)
    sub = verified.subprogs[number]
    callees = [callee for slot in range(sub.start, sub.end) if (callee := flow.callee(slot)) is not None]
    taken = {at: spell(param) for at, param in enumerate(me.params, 1)}
    found = rows(frame, taken, {at: _passed(callees, at) for at in range(6, isa.MAX_FUNC_ARGS + 1)})
    top = canvas.y
    canvas.text(_MARGIN, top + 14, f"func#{number} {compiled.name}", "t", 0.8 * _WIDTH - 2 * _MARGIN)
    size = f"{sub.kind}, {len(compiled.code)} bytes of code, frame of {frame.depth(frame.body)} bytes"
    canvas.text(_MARGIN, top + 34, size, "d", _WIDTH - 2 * _MARGIN)
    canvas.text(_BOX_X - 10, top + _HEAD - 10, "from rbp", "d e")
    canvas.text(_BOX_X + _BOX_W - 10, top + _HEAD - 10, "high addresses", "d e")
    canvas.text(_NOTE_X, top + _HEAD - 10, "from rsp", "d")
    canvas.y = top + _HEAD
    base = "rbp" if frame.private_depth is not None else "rbp (r10)"
    for row in found:
        _word(canvas, row, base)
    canvas.text(_BOX_X + _BOX_W - 10, canvas.y + 16, "low addresses: the stack grows down", "d e")
    canvas.y += 22
    _registers(canvas, frame, me, callees)
    return {row.owner for row in found}


def _word(canvas: _Canvas, row: Row, base: str) -> None:
    """base: what to call rbp."""
    height = _ROW if row.size <= 8 else 2 * _ROW
    y, middle = canvas.y, canvas.y + height / 2 + 4
    tip = f"{row.what}: [{rbp(row.off)}], [rsp+{row.rsp:#x}], {row.size} bytes"
    canvas.rect(_BOX_X, y, _BOX_W, height, row.owner, tip)
    canvas.text(_BOX_X - 10, middle if row.size <= 8 else y + height - 9, rbp(row.off), "e")
    canvas.text(_BOX_X + 10, middle, row.what, room=_BOX_W - 20)
    used = len(row.what) * _CHAR + 30
    if row.note:
        canvas.text(_BOX_X + _BOX_W - 10, middle, _fit(row.note, _BOX_W - 10 - used), "d e")
    foot = y + height - _ROW / 2 + 4 if row.size > 8 else middle
    where = "rsp" if row.rsp == 0 else f"rsp+{row.rsp:#x}"
    canvas.text(_NOTE_X, foot, where, "p" if row.rsp == 0 else "d")
    pointers = [name for name, here in ((base, row.off == 0), ("rsp", row.rsp == 0)) if here]
    if pointers:
        x = _NOTE_X + 84
        tip_y = foot - 4
        canvas.parts.append(f'<path class="a" d="M{x} {tip_y:g}l10 -5v10z"/>')
        canvas.text(x + 16, foot, ", ".join(pointers), "p")
    canvas.y += height


def _fit(words: str, room: float) -> str:
    most = max(int(room / _CHAR), 1)
    return words if len(words) <= most else words[: most - 1] + "…"


def _registers(canvas: _Canvas, frame: Frame, me: Callee, callees: list[Callee]) -> None:
    """Arguments in registers: those that came in, and argument 6 on its way out."""
    lines: list[tuple[str, str, str]] = []
    for at, param in enumerate(me.params[: isa.MAX_REG_ARGS], 1):
        lines.append((NAMES64[REGMAP[at]], f"argument {at}, incoming", spell(param)))
    if sixth(frame):
        lines += _sixth(frame, me, callees)
    if frame.private_depth is not None:
        lines.append(("r9", f"r10: {private(frame)}", ""))
    for reg, what, note in lines:
        canvas.y += 19
        canvas.text(_BOX_X - 10, canvas.y, reg, "p e")
        canvas.text(_BOX_X + 10, canvas.y, what)
        room = _WIDTH - _MARGIN - _BOX_X - 240
        canvas.text(_BOX_X + 240, canvas.y, note if len(what) * _CHAR < 225 else "", "d", room)
    if lines:
        canvas.y += 4


def _sixth(frame: Frame, me: Callee, callees: list[Callee]) -> Iterator[tuple[str, str, str]]:
    if 6 in frame.incoming:
        param = me.param(6)
        until = "until an outgoing one is stored" if 6 in frame.outgoing else ""
        yield "r9", "argument 6, incoming", "; ".join(filter(None, (spell(param) if param else "", until)))
    if 6 in frame.outgoing:
        yield "r9", "argument 6, outgoing", _passed(callees, 6)


def _passed(callees: list[Callee], argument: int) -> str:
    """Who gets an argument, and what it is called there."""
    names: dict[str, None] = {}
    for callee in callees:
        if callee.nargs is not None and argument <= callee.nargs:
            param = callee.param(argument)
            names[f"{callee.name}: {spell(param)}" if param else callee.name] = None
    return ", ".join(names)
