"""`bpfemu replay`: recordings of a real kernel on our engines."""

import gzip
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import TextIO

import click
from rich.table import Table
from rich.text import Text

from bpf.errors import InputError
from bpf.request import to_request
from emu.commands.common import (
    AGREES,
    DIFFERS,
    console,
    emit_json,
    engines_option,
    run_options,
    shown,
)
from emu.load import MAX_FILE, json_objects, read_bytes
from emu.pipeline import Options, Pipeline
from emu.replay.check import FIELDS, Check, Replayed
from emu.replay.images import replay_image
from emu.replay.objects import ObjectFolder, replay_object
from emu.replay.records import replay_record
from emu.report import fits, say

MAX_UNPACKED = 4 * MAX_FILE


@click.command()
@click.argument("file", metavar="RECORDINGS")
@engines_option
@click.option(
    "--images",
    is_flag=True,
    help="Run the recorded native code in place of ours, every program in precise mode, too.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: summary and programs.")
@click.option(
    "--differing",
    type=click.Path(dir_okay=False),
    metavar="OUT.jsonl",
    help="Write the requests that differ, as they are found.",
)
@click.option(
    "--show",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many differing programs to list.",
)
@run_options
def replay(
    file: str,
    engines: tuple[str, ...],
    images: bool,
    as_json: bool,
    differing: str | None,
    show: int,
    options: Options,
) -> None:
    """Replay RECORDINGS (.jsonl, .jsonl.gz or a list of objects) and show where we agree with the kernel.

    Exit status: 0 all agree, 1 some differ. When interrupted it shows what it has found so far, and ends with 130.
    """
    entries = list(json_objects(_text(file), file))
    if not entries:
        raise InputError(file, "", "holds no recording")
    pipeline = Pipeline(options)
    folder = ObjectFolder.beside(file)
    done: list[Replayed] = []
    sink = _open(differing)
    stopped: BaseException | None = None
    try:
        for what, entry in shown(entries, "replaying"):
            result = _replay(pipeline, folder, entry, what, () if images else engines)
            if sink is not None and result.differs:
                sink.write(json.dumps(_differing(result, entry)) + "\n")
                sink.flush()
            # a case holds its image and all its calls: only what the report needs is kept
            done.append(replace(result, case=None, json=result.json if as_json else {}))
    except (KeyboardInterrupt, InputError, OSError) as error:
        stopped = error  # what was found so far is shown first
    finally:
        if sink is not None:
            sink.close()
    if done or stopped is None:
        _show(done, show, as_json)
    if stopped is not None:
        sys.stdout.flush()
        if done:
            click.echo(f"bpfemu: stopped after {len(done)} of {len(entries)} programs", err=True)
        raise stopped
    sys.exit(DIFFERS if any(item.differs for item in done) else AGREES)


def _show(done: list[Replayed], show: int, as_json: bool) -> None:
    if not as_json:
        _print(done, show)
        return
    programs = [{**item.json, "checks": _checks(item)} for item in done]
    emit_json({"summary": _summary(done), "programs": programs})


def _replay(
    pipeline: Pipeline, folder: ObjectFolder, entry: object, what: str, engines: tuple[str, ...]
) -> Replayed:
    """One entry; a fault of ours is a difference of that program, and the others go on. No engines: its image is run."""
    try:
        if not engines:
            return replay_image(pipeline, entry, what)
        if isinstance(entry, dict) and "object" in entry:
            return replay_object(pipeline, folder, entry, what, engines)
        return replay_record(pipeline, entry, what, engines)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  as above
        name = str(entry.get("name") or entry.get("prog") or what) if isinstance(entry, dict) else what
        group = str(entry.get("family") or entry.get("object") or "all") if isinstance(entry, dict) else "all"
        why = f"internal error: {type(error).__name__}: {error}"
        return Replayed(name, group, (Check("engines", "differ", why),), None, {"name": name})


def _text(file: str) -> str:
    data = read_bytes(file)
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.open(BytesIO(data)) as stream:
                data = stream.read(MAX_UNPACKED + 1)
            if len(data) > MAX_UNPACKED:
                raise InputError(file, "", f"is larger than {MAX_UNPACKED >> 20} MiB when unpacked")
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(file, f"byte {error.start}", "is not UTF-8 text") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(file, "", f"not a readable gzip file: {error}") from None


def _open(file: str | None) -> TextIO | None:
    if file is None:
        return None
    try:
        return open(file, "w", encoding="utf-8")
    except OSError as error:
        raise InputError(file, "", error.strerror or str(error)) from None


def _differing(result: Replayed, entry: object) -> dict[str, object]:
    """The recording, or the request of an object's program, with what differs."""
    base: dict[str, object] = {}
    if isinstance(entry, dict) and "object" not in entry:
        base = entry
    elif result.case is not None:
        base = to_request(result.case.request)
    return {**base, "name": result.name, "differs": _checks(result, "differ")}


def _checks(result: Replayed, state: str | None = None) -> dict[str, object]:
    return {
        check.field: {"state": check.state, "why": check.why}
        for check in result.checks
        if state is None or check.state == state
    }


def _counts(done: list[Replayed]) -> Iterator[tuple[str, int, dict[str, Counter[str]]]]:
    """(group, programs, field -> state -> count) in the order in which groups were met."""
    groups: dict[str, list[Replayed]] = {}
    for item in done:
        groups.setdefault(item.group, []).append(item)
    for group, items in groups.items():
        fields: dict[str, Counter[str]] = {name: Counter() for name in FIELDS}
        for item in items:
            for check in item.checks:
                fields[check.field][check.state] += 1
        yield group, len(items), fields


def _summary(done: list[Replayed]) -> dict[str, object]:
    return {
        group: {"programs": count, **{name: dict(states) for name, states in fields.items() if states}}
        for group, count, fields in _counts(done)
    }


def _print(done: list[Replayed], show: int) -> None:
    out = console()
    table = _table(done)
    if fits(out, table):
        out.print(table)
    else:
        for group, count, fields in _counts(done):
            cells = (f"{name} {_cell(states)}" for name, states in fields.items() if states)
            say(out, f"{group}: {count} program{'s' if count > 1 else ''}: {', '.join(cells)}")
        out.print()
    out.print("each number: programs that agree / differ / cannot be compared\n", style="dim")
    reasons = Counter(
        (c.field, _reason(c.why)) for item in done for c in item.checks if c.state == "not comparable"
    )
    if reasons:
        out.print("not comparable:")
        for (name, why), count in reasons.most_common(40):
            say(out, f"{count:5}  {name}: {why}", indent=2)
    differing = [item for item in done if item.differs]
    out.print(f"{len(done)} programs, {len(differing)} differ", style="bold")
    for item in differing[:show]:
        worst = [check for check in item.checks if check.state == "differ"]
        say(out, f"{item.name}: " + "; ".join(f"{check.field}: {check.why}" for check in worst), indent=2)
    if len(differing) > show:
        out.print(f"  ... {len(differing) - show} more: --show N, or --differing FILE for their requests")


def _reason(why: str) -> str:
    """A reason without the numbers of one program, so that alike ones are counted together."""
    head, _, tail = why.partition(": insn ")
    return f"{head}: {tail.partition(': ')[2]}" if tail else why


def _table(done: list[Replayed]) -> Table:
    rows = list(_counts(done))
    used = [name for name in FIELDS if any(fields[name] for _, _, fields in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("programs", justify="right")
    for name in used:
        table.add_column(name, justify="right", no_wrap=True)
    for group, count, fields in rows:
        table.add_row(group, str(count), *(_cell(fields[name]) for name in used))
    return table


def _cell(states: Counter[str]) -> Text:
    agree, differ, other = (states[name] for name in ("agree", "differ", "not comparable"))
    if not differ and not other:
        return Text(str(agree) if agree else "", "green")
    return Text.assemble(f"{agree} / ", (str(differ), "bold red" if differ else ""), f" / {other}")
