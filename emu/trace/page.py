"""A trace as one HTML page that needs nothing from elsewhere: template, style and script of this folder, and the trace as JSON.

The policy in the page's head lets exactly this style and this script run, by their hashes. The trace stands in a block
that no browser executes, with every character escaped that could end it; the script puts it into the page as text only.
"""

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files

from emu.trace.asjson import trace_json
from emu.trace.trace import Trace

_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}


def page(trace: Trace) -> str:
    """The whole page."""
    style = _part("page.css")
    script = "".join(map(_part, ("state.js", "view.js", "page.js")))
    data = json.dumps(trace_json(trace), separators=(",", ":")).translate(_ESCAPES)
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    parts = {
        "policy": escape(policy),
        "title": escape(f"{trace.name}: {trace.verdict}".encode(errors="replace").decode()),
        "style": style,
        "script": script,
        "data": data,
    }
    out = _part("page.html")
    head, *rest = out.split("{{")
    pieces = [head]
    for piece in rest:
        name, _, text = piece.partition("}}")
        pieces += [parts[name], text]
    return "".join(pieces)


def _part(name: str) -> str:
    return files("emu.trace").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
