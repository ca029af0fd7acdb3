"""What `monitor COMMAND` prints in gdb: the program in BPF's terms."""

from collections.abc import Callable, Iterator, Sequence

from bpf import isa
from bpf.disasm import disasm
from bpf.proto import Param
from emu.gdb import stack, variables
from emu.gdb.stack import Level
from emu.gdb.target import ENTRY, Target
from emu.native import bpf_text, source_line
from emu.sandbox import addresses
from emu.sandbox.callees import callee_of
from emu.sandbox.images import Function
from jit.argflow import ArgumentFlow, parameters, register
from jit.frame import WORD
from jit.picture import spell

_HELP = """\
monitor bpf          the BPF instruction that is under way, its source, r0 to r10 and where they are
monitor args         the arguments of the call or function at hand: where each is, and its value
monitor frame [all]  the stack of the function, or of all, word by word, with who owns each
monitor checks       what checks of the calling convention have found so far
monitor checks stop  stop where one of them finds something; `go` takes it back
monitor help         this
"""


def command(target: Target, text: str) -> str:
    """What to print for a command."""
    words = text.split()
    shows: dict[str, Callable[[Target, list[str]], Iterator[str]]] = {
        "bpf": _bpf, "args": _args, "frame": _frame, "checks": _checks, "help": _help,
    }  # fmt: skip
    show = shows.get(words[0]) if words else _help
    if show is None:
        return f"there is no command {words[0][:40]!r}; monitor help shows all\n"
    return "".join(f"{line}\n" for line in show(target, words[1:]))


def _help(_target: Target, _words: list[str]) -> Iterator[str]:
    yield from _HELP.splitlines()


# ---- monitor bpf


def _bpf(target: Target, _words: list[str]) -> Iterator[str]:
    function = target.engine.code.function_at(target.machine.pc)
    if function is None or function.image is None:
        yield f"{_name(target)}: no BPF function"
        return
    verified = function.image.verified
    sub = verified.subprogs[function.number]
    off = target.machine.pc - function.addr
    site = target.engine.code.site(target.machine.pc)
    if site is None or site.insn is None:
        yield f"{function.name}+{off:#x}: no instruction (prologue)"
    else:
        yield f"{function.name}+{off:#x}: {bpf_text(verified.program, site.insn)}"
        source = source_line(verified.program, site.insn)
        if source is not None:
            yield f"  {source.file}:{source.line}: {' '.join(source.text.split())}"
    level = next(stack.levels(target), None)
    if level is not None and level.activation.insn is not None and site is not None:
        yield from _rewritten(level, level.activation.insn, site.insn)
    if not function.image.functions[function.number].offsets:
        yield "  another JIT made this code: where its BPF registers are is not known"
        return
    for number in range(isa.FP + 1):
        home = register(sub, number)
        yield f"  {f'r{number}':<4} {home:<4} {target.machine.register(home):#x}"


def _rewritten(level: Level, slot: int, origin: int | None) -> Iterator[str]:
    """What the verifier made of the instruction, where it is another one now."""
    verified = level.image.verified
    insn = verified.insns[slot]
    if origin is not None and insn != verified.program.insns[origin] and insn.code:
        following = verified.insns[slot + 1] if slot + 1 < len(verified.insns) else None
        yield f"  after verification: {disasm(insn, following)}"


# ---- monitor args


def _args(target: Target, _words: list[str]) -> Iterator[str]:
    pc, rsp = target.machine.pc, target.machine.register("rsp")
    symbol = target.machine.symbol_at(pc)
    function = target.engine.code.function_at(pc)
    if symbol is not None:
        callee = callee_of(symbol)
        params = callee.proto.params if callee.proto is not None else variables.unnamed(callee.nargs)
        yield f"{callee.name} is called:"
        yield from _table(target, params, rsp + WORD)
        return
    if function is None or function.image is None:
        yield f"{_name(target)}: no BPF function"
        return
    taken = parameters(function.image.verified, function.number)
    taken = taken or variables.unnamed(function.image.verified.subprogs[function.number].arg_cnt)
    if pc == function.addr:
        yield f"{function.name} is called:"
        yield from _table(target, taken, rsp + WORD)
        return
    level = next(stack.levels(target), None)
    if level is None:
        yield f"{_name(target)}: the frame is not known"
        return
    called = _callee(level)
    if called is not None:
        yield f"{function.name} calls {called[0]}:"
        spot = level.activation.moment.outgoing.get(7)
        yield from _table(target, called[1], level.activation.address(spot.cfa) if spot else rsp)
        return
    yield f"{function.name} was called with:"
    ends = variables.ends_of(target.shown(function), function.addr)
    gone = {name for name, end in ends.items() if pc >= end}
    yield from _table(target, taken, level.activation.cfa, gone)


def _callee(level: Level) -> tuple[str, Sequence[Param]] | None:
    """Name and parameters of what the instruction under way calls."""
    slot = level.activation.insn
    found = None if slot is None else ArgumentFlow(level.image.verified, level.activation.number).callee(slot)
    if found is None or not found.nargs:
        return None
    return found.name, found.params or variables.unnamed(found.nargs)


def _table(
    target: Target, params: Sequence[Param], stacked: int, gone: frozenset[str] | set[str] = frozenset()
) -> Iterator[str]:
    """A line for each argument. stacked: where argument 7 lies. gone: registers that hold something else by now."""
    rows = []
    for number, param in enumerate(params, 1):
        if number <= len(variables.REGISTERS):
            place = variables.REGISTERS[number - 1]
            value = "gone" if place in gone else f"{target.machine.register(place):#x}"
        else:
            at = stacked + WORD * (number - len(variables.REGISTERS) - 1)
            place, value = f"[{at:#x}]", f"{int.from_bytes(target.memory(at, WORD), 'little'):#x}"
        rows.append((f"arg {number}", spell(param), place, value))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield f"  {'  '.join(cells)}  {row[3]}"
    if not rows:
        yield "  no arguments"


# ---- monitor frame


def _frame(target: Target, words: list[str]) -> Iterator[str]:
    rsp, rbp = target.machine.register("rsp"), target.machine.register("rbp")
    found = False
    for level in stack.levels(target):
        if found and words != ["all"]:
            return
        found = True
        yield f"{level.name}, CFA {level.activation.cfa:#x}"
        for addr, owner in stack.words(level):
            value = int.from_bytes(target.memory(addr, WORD).ljust(WORD, b"\0"), "little")
            marks = [name for name, at in (("rsp", rsp), ("rbp", rbp)) if at == addr]
            mark = f"  <- {', '.join(marks)}" if marks else ""
            what = f"{owner}  {_place(target, value)}" if owner == "return address" else owner
            yield f"  {addr:#x}  {value:#018x}  {what}{mark}".rstrip()
    if not found:
        yield f"{_name(target)}: the frame is not known"


# ---- monitor checks


def _checks(target: Target, words: list[str]) -> Iterator[str]:
    if words in (["stop"], ["go"]):
        target.machine.stop_at_checks = words == ["stop"]
        yield "a check that finds something " + ("stops" if words == ["stop"] else "does not stop")
        return
    found = target.violations()
    if not found:
        yield "no check has found anything so far"
    for one in found:
        yield f"{one.check}: {one.message}"
    if not target.machine.checks_on:
        yield "rip or rsp was changed: what precise mode would find from there on is not looked for"


# ---- addresses


def _name(target: Target) -> str:
    return _place(target, target.machine.pc)


def _place(target: Target, addr: int) -> str:
    """`function+0x1f`, or the address alone."""
    function: Function | None = target.engine.code.function_at(addr)
    if function is not None:
        return f"{function.name}+{addr - function.addr:#x}"
    if addr == target.machine.returned:
        return ENTRY
    symbol = target.machine.symbol_at(addr - addr % addresses.STUB_SIZE)
    return f"{symbol}+{addr % addresses.STUB_SIZE:#x}" if symbol else f"{addr:#x}"
