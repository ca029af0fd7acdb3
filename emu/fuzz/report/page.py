"""A campaign as one HTML file that needs nothing else."""

import io
from html import escape

from rich.console import Console

from emu.fuzz.report import table
from emu.fuzz.report.numbers import Numbers


def render(numbers: Numbers, folder: str | None) -> bytes:
    """The page, UTF-8. folder: of the campaign, None where nothing is kept."""
    text = io.StringIO()
    table.show(Console(file=text, width=160, highlight=False), numbers, folder)
    title = f"bpfemu fuzz, seed {numbers.result.config.seed}, {numbers.result.config.mode}"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
    return (
        f"{head}<body><h1>{escape(title)}</h1><pre>{escape(text.getvalue())}</pre></body></html>\n".encode()
    )
