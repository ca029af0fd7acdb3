"""A trace for the terminal: calls as tables, findings as lines, and the whole state at the steps that are asked for.

Only renders. All names come from programs, so nothing is markup, and what has no letter is spelled out.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emu.report import UNBOUNDED, fits, say
from emu.trace.spell import Speller
from emu.trace.trace import Call, Finding, Function, Row, State, Step, Trace, walk

_AROUND: Final = 5  # native instructions before and behind the current one
_WORD: Final = 8
_NEVER: Final = 0xA5A5_A5A5_A5A5_A5A5
_COLOURS: Final = {
    "caller": "blue", "link": "bright_black", "stack": "green", "count": "magenta", "saved": "yellow",
    "temporary": "cyan", "outgoing": "red", "kernel": "bright_black",
}  # fmt: skip
_VERDICTS: Final = {"agrees": "green", "differs": "bold red", "both trap": "yellow"}
_OTHERS: Final = ("rsp", "rbp", "r9", "r10", "r11", "r12")  # beside those that hold BPF registers


def printable(text: str) -> str:
    """A text without what moves a cursor."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def print_trace(out: Console, trace: Trace, at: Sequence[int], hits: int, calls: int) -> None:
    """The summary, up to `calls` tables a trace, the state at each of `at` (BPF instructions, `hits` times each), and where it stops."""
    _summary(out, trace)
    for call in trace.calls[:calls]:
        out.print()
        _print(out, _call_table(trace, call))
    if len(trace.calls) > calls:
        out.print()
        say(out, f"{len(trace.calls) - calls} more calls; --calls N shows more of them", "dim")
    wanted = _wanted(trace, at, hits)
    missed = [insn for insn in at if not any(trace.steps[step].insn == insn for step in wanted)]
    for insn in missed:
        out.print()
        say(out, f"insn {insn} is not reached in the {len(trace.steps)} steps of this trace", "yellow")
    first = trace.findings[0] if trace.findings and trace.stop is not None else None
    if first is not None:
        wanted |= {first.step: "the first difference"} if first.seen - first.step > 1 else {}
        wanted[first.seen] = "where it shows" if first.seen > first.step else "the first difference"
    _states(out, trace, wanted, first)
    _findings(out, trace)
    if trace.after is not None:
        out.print()
        say(out, "what it leads to:", "bold")
        _print(out, _call_table(trace, trace.after))


def _wanted(trace: Trace, at: Iterable[int], hits: int) -> dict[int, str]:
    """Steps at which a BPF instruction of the program begins (not of one that it tail calls), and why they are shown."""
    found: dict[int, str] = {}
    own = {number for number, one in enumerate(trace.functions) if one.program == trace.functions[0].program}
    for insn in dict.fromkeys(at):
        steps = [
            n
            for n, step in enumerate(trace.steps)
            if step.begins and step.insn == insn and (step.function in own or step.addr is None)
        ]
        for hit, step in enumerate(steps[:hits], 1):
            found[step] = f"insn {insn}, time {hit} of {len(steps)}"
    return found


def _summary(out: Console, trace: Trace) -> None:
    title = Text(printable(trace.name), "bold")
    title.append("  ")
    title.append(trace.verdict, _VERDICTS.get(trace.verdict, ""))
    facts = [_many(len(trace.steps), "step"), _many(len(trace.calls), "call"), _many(len(trace.runs), "run")]
    if trace.mutant:
        facts.append(f"with the fault {trace.mutant}")
    title.append(f"  {', '.join(facts)}", "dim")
    out.print(title, soft_wrap=not out.is_terminal)
    for number, run in enumerate(trace.runs, 1):
        one, other = map(printable, run.ends)
        same = f"both engines: {one}" if one == other else f"interpreter: {one}; sandbox: {other}"
        say(out, f"run {number}: {same}")
    if trace.difference:
        say(out, f"bpfemu run says: {printable(trace.difference)}")
    if trace.cut:
        say(out, trace.cut, "dim")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _findings(out: Console, trace: Trace) -> None:
    if not trace.findings:
        return
    out.print()
    say(out, "found:", "bold")
    for one in trace.findings:
        where = f"step {one.step}" + (f", seen at step {one.seen}" if one.seen != one.step else "")
        say(out, f"{where}: {one.kind}: {printable(one.text)}", indent=2)


# ---- calls


def _call_table(trace: Trace, call: Call) -> Table:
    where = "" if call.insn is None else f"insn {call.insn} "
    verb = "calls back" if call.kind == "callback" else "calls"
    ret = call.shown[0] if call.shown[0] == call.shown[1] else f"{call.shown[0]} / {call.shown[1]}"
    runs = f"run {call.run + 1}, " if len(trace.runs) > 1 else ""
    title = f"{runs}step {call.step}: {where}{verb} {printable(call.callee)} -> {ret}"
    table = _table(Text(title, "bold red" if call.differs else "bold"))
    for name in ("", "parameter", "caller puts it in", "callee finds it"):
        table.add_column(name, overflow="fold")
    for name in ("interpreter", "sandbox"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("")
    for arg in call.args:
        put = arg.put if arg.put_native == arg.put else f"{arg.put:<7} {arg.put_native}"
        table.add_row(
            f"arg {arg.number}", Text(printable(arg.param)), Text(put), Text(arg.found),
            *map(Text, arg.shown), Text("<- differs", "bold red") if arg.differs else Text(""),
        )  # fmt: skip
    return table


def _print(out: Console, table: Table) -> None:
    """Every row whole where that can be read; on a narrow terminal cells are folded."""
    if fits(out, table) or out.is_terminal:
        out.print(table)
    else:
        out.print(table, width=UNBOUNDED, crop=False)


def _table(title: Text | None = None) -> Table:
    return Table(
        title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style="dim"
    )


# ---- states


def _states(out: Console, trace: Trace, wanted: dict[int, str], finding: Finding | None) -> None:
    speller = Speller(trace)
    for number, step, state in walk(trace):
        if number in wanted:
            out.print()
            _state(out, trace, number, step, state, wanted[number], speller, finding)


def _state(
    out: Console,
    trace: Trace,
    number: int,
    step: Step,
    state: State,
    why: str,
    speller: Speller,
    finding: Finding | None,
) -> None:
    function = trace.functions[step.function] if step.function >= 0 else None
    where = "no native code" if step.addr is None else hex(step.addr)
    if function is not None and step.addr is not None:
        where += f" <{printable(function.name)}+{step.addr - function.addr:#x}>"
    say(out, f"step {number} ({why}): {where}", "bold underline")
    if finding is not None and number in (finding.step, finding.seen):
        say(out, f"{finding.kind}: {printable(finding.text)}", "bold red")
    out.print()
    if function is not None:
        _listing(out, trace, function, step, finding)
    out.print()
    _print(out, _registers(function, step, state, speller))
    out.print()
    _print(out, _stack(trace, step, state, speller))


def _listing(out: Console, trace: Trace, function: Function, step: Step, finding: Finding | None) -> None:
    """Native instructions around the current one, below the BPF instructions that they belong to."""
    program = trace.programs[function.program] if function.program >= 0 else None
    insns = {one.number: one for one in program.insns} if program else {}
    off = step.addr - function.addr if step.addr is not None else -1
    at = next((n for n, one in enumerate(function.natives) if one.off == off), None)
    if at is None:
        at = next((n for n, one in enumerate(function.natives) if one.insn == step.insn), 0)
    culprit = None if finding is None or finding.native is None else finding.native - function.addr
    before: int | None = -1
    source: int | None = None
    for one in function.natives[max(at - _AROUND, 0) : at + _AROUND + 1]:
        if one.insn != before:
            before = one.insn
            insn = insns.get(one.insn) if one.insn is not None else None
            if insn is not None and program is not None and insn.source not in (None, source):
                source = insn.source
                line = program.sources[insn.source]
                say(out, f"; {printable(f'{line.file}:{line.line}: {line.text.strip()}')}", "dim", indent=2)
            text = "prologue" if insn is None else f"{insn.number}: {printable(insn.text)}"
            say(out, text, "bold" if one.insn == step.insn else "", indent=4)
        current, guilty = one.off == off, one.off == culprit
        mark = "=>" if current else "!!" if guilty else "  "
        style = "reverse" if current else "bold red" if guilty else ""
        line_text = f"{mark} {one.off:04x}  {one.code.hex():<22} {printable(one.text)}"
        say(out, line_text, style, indent=4)


def _registers(function: Function | None, step: Step, state: State, speller: Speller) -> Table:
    """BPF registers with the native ones that hold them, then the other native registers."""
    table = _table()
    for name in ("bpf", "native", "interpreter", "", "sandbox", "", ""):
        table.add_column(name, overflow="fold", no_wrap=bool(name))
    registers = function.registers if function is not None else ()
    for number, native in enumerate(registers):
        _register(table, f"r{number}", native, step, state, speller)
    for native in _OTHERS:
        if native not in registers:
            _register(table, "", native, step, state, speller)
    for name in sorted(state.bpf, key=_argument_order):
        if name[0] in "io" and state.bpf[name] is not None:
            place, have = _argument_place(name, state) if registers else ("", None)
            _row(
                table, _argument_name(name), place, state.bpf[name], have, name in step.marks, speller, state
            )
    return table


def _argument_order(name: str) -> tuple[bool, int]:
    return (name.startswith("out"), int(name.lstrip("inoutr")))


def _argument_name(name: str) -> str:
    """`in7` is read from r11+16, `out7` is stored to r11-16."""
    number = int(name.lstrip("inout"))
    return f"r11{'+' if name.startswith('in') else '-'}{8 * (number - 5)}"


def _argument_place(name: str, state: State) -> tuple[str, int | None]:
    """Where the native code has an argument now, and what is there; None where that is not known any more."""
    number = int(name.lstrip("inout"))
    if number == 6:
        return "r9", state.regs.get("r9") if name == "out6" else None
    if name.startswith("in"):
        return f"[rbp+{16 + 8 * (number - 7):#x}]", _word(state, state.regs["rbp"] + 16 + 8 * (number - 7))
    return f"[rsp+{8 * (number - 7):#x}]", _word(state, state.regs["rsp"] + 8 * (number - 7))


def _word(state: State, addr: int) -> int:
    return state.words.get(addr, _NEVER)


def _register(table: Table, bpf: str, native: str, step: Step, state: State, speller: Speller) -> None:
    want = state.bpf.get(bpf) if bpf else None
    _row(
        table,
        bpf,
        native,
        want,
        state.regs.get(native),
        bpf in step.marks,
        speller,
        state,
        native in step.regs,
    )


def _row(
    table: Table,
    bpf: str,
    native: str,
    want: int | None,
    have: int | None,
    parts: bool,
    speller: Speller,
    state: State,
    changed: bool = False,
) -> None:
    table.add_row(
        bpf,
        Text(native),
        "" if want is None else hex(want),
        Text(printable(speller.reference(want)) if want is not None else "", "dim"),
        Text("" if have is None else hex(have), "bold" if changed else ""),
        Text(printable(speller.sandbox(have, state)) if have is not None else "", "dim"),
        Text("<- differs", "bold red") if parts else Text("*" if changed else "", "bold"),
    )


def _stack(trace: Trace, step: Step, state: State, speller: Speller) -> Table:
    """The native stack from high to low addresses, with the owner of each word."""
    table = _table(Text("stack (high addresses on top; * changed)", "dim"))
    for name in ("address", "", "sandbox", "", "owner"):
        table.add_column(name, overflow="fold", no_wrap=name in ("address", "sandbox"))
    for index, (activation, shape) in enumerate(state.frames):
        inner = state.frames[index + 1] if index + 1 < len(state.frames) else None
        top = None
        if inner is not None:
            one, rows = trace.activations[inner[0]], trace.shapes[inner[1]]
            top = one.cfa + max((row.off + row.size for row in rows), default=0)
        for row in trace.shapes[shape]:
            _stack_words(table, trace, activation, row, top, step, state, speller)
    return table


def _stack_words(
    table: Table,
    trace: Trace,
    activation: int,
    row: Row,
    top: int | None,
    step: Step,
    state: State,
    speller: Speller,
) -> None:
    """The words of a row, but for those that an inner function calls its own arguments; what nobody wrote is left out."""
    one, untouched = trace.activations[activation], 0
    if row.kind == "kernel":
        table.add_row(
            "...", "", "", "", _owner(f"{_many(row.size // _WORD, 'word')}: {row.what}", row, None, False)
        )
        return
    for off in range(row.off + row.size - _WORD, row.off - 1, -_WORD):
        addr = one.cfa + off
        if top is not None and addr < top:
            continue
        want = state.slots.get((one.frame, off + 16)) if row.kind == "stack" else None
        if (
            row.kind == "stack"
            and want in (None, _NEVER)
            and _word(state, addr) == _NEVER
            and addr not in step.words
        ):
            untouched += 1
            continue
        untouched = _untouched(table, untouched)
        owner, value = row.what, _word(state, addr)
        if row.kind == "stack":
            owner = f"r10{off + 16} of {row.what.removeprefix('program stack of ')}"
        points = [name for name in ("rbp", "rsp") if state.regs.get(name) == addr]
        mark = "*" if addr in step.words else " "
        parts = f"fp{one.frame}{off + 16}" in step.marks
        table.add_row(
            f"{addr:#x}",
            Text(f"{mark} {'<- ' + ', '.join(points) if points else ''}", "bold"),
            f"{value:#018x}",
            Text(printable(speller.sandbox(value, state)), "dim"),
            _owner(owner, row, want if want != value else None, parts),
        )
    _untouched(table, untouched)


def _owner(owner: str, row: Row, want: int | None, parts: bool) -> Text:
    """want: what the reference interpreter has there, where it has something else."""
    text = Text(printable(owner), _COLOURS[row.kind])
    if row.note:
        text.append(f"  {printable(row.note)}", "dim")
    if want is not None:
        text.append(f"  interpreter {want:#x}", "bold red" if parts else "dim")
    return text


def _untouched(table: Table, words: int) -> int:
    """A line for words of a program stack that nobody wrote to; how many there are behind it: none."""
    if words:
        table.add_row("...", "", "", "", Text(f"{_many(words, 'word')} that nobody wrote to", "dim"))
    return 0
