"""The symbols of everything that a run executes: functions of the program, and the stubs that stand for the kernel.

Made from what the JIT says of its functions, so that the debugger finds frames, arguments and lines at every instruction.
"""

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Final

from bpf.errors import InputError
from bpf.verified import Subprog, Verified
from emu.gdb import cfi, debug_info, elf, lines, stack, sweep, variables
from emu.gdb.sources import Line, Sources
from emu.gdb.target import ENTRY, Target
from emu.gdb.types import AnyType, BtfRef
from emu.native import function_of
from emu.sandbox import addresses
from emu.sandbox.callees import callee_of
from emu.sandbox.checks import SAVED_REGISTERS
from emu.sandbox.debug import CALLING, STUBS_END
from emu.sandbox.images import Function
from jit.argflow import parameters
from jit.frame import WORD
from jit.image import Image, NativeFunction

_WORD: Final = re.compile(r"[A-Za-z_.$][\w.$]*", re.ASCII)
_NO_WORD: Final = re.compile(r"\W", re.ASCII)
_STUBS: Final = "bpfemu_stub"  # what all stubs share
_RETURN: Final = {"rip": -WORD}


class Symbols:
    """The symbols of a target. path: of the ELF file; beside it lie the listing and the sources that are put together.

    folders: where source files may lie. c_lines: whether lines are those of C source where it is known.
    """

    def __init__(
        self, target: Target, path: Path, folders: tuple[Path, ...], *, c_lines: bool = True
    ) -> None:
        self._target = target
        self._path = path.absolute()
        self._functions = target.engine.code.functions
        self._images = target.images
        self._names = {one.addr: _name(one, target.engine.world.program.name) for one in self._functions}
        names = {
            (self._number(one.image), _start(one)): self._names[one.addr]
            for one in self._functions
            if one.image is not None
        }
        programs = [image.verified.program for image in self._images]
        self._sources = Sources(programs, names, path.stem, folders, c_lines=c_lines)
        self._files: dict[str, int] = {}
        self._stubs, self._natives, self._variables = self._kernel()

    def write(self) -> None:
        """Write all files. Raises InputError where that is not possible."""
        data = self.image()
        self._sources.write(self._path.parent)
        try:
            self._path.write_bytes(data)
        except OSError as error:
            raise InputError(str(self._path), "", error.strerror or str(error)) from None

    def image(self) -> bytes:
        """The ELF file."""
        base, end = addresses.IMAGE, max((one.end for one in self._functions), default=addresses.IMAGE)
        text = bytearray(b"\xcc" * (end - base))
        for function in self._functions:
            text[function.addr - base : function.end - base] = self._target.shown(function)
        codes = [self._lines(one) for one in self._functions if one.image is not None]
        told = [self._told(one) for one in self._functions if one.image is not None]
        told += [self._told_stub(name, addr) for name, addr in self._stubs.items()]
        ranges = [(base, end), (addresses.STUBS, STUBS_END)]
        program = self._target.engine.world.program.name
        unit = debug_info.Unit(
            program,
            str(self._path.parent),
            f"bpfemu {version('bpfemu')}",
            told,
            ranges,
            list(variables.globals_of(self._target.engine.world)),
        )
        made = {
            **debug_info.sections(unit),
            ".debug_line": lines.debug_line(list(self._files), codes),
            ".debug_frame": cfi.debug_frame(list(self._frames())),
        }
        sections = [
            elf.Section(".text", bytes(text), flags=elf.ALLOC | elf.EXEC, addr=base),
            elf.Section(
                ".text.kernel", b"", elf.NOBITS, elf.ALLOC | elf.EXEC, addresses.TEXT, addresses.TEXT_SIZE
            ),
            elf.Section(
                ".data.kernel", b"", elf.NOBITS, elf.ALLOC | elf.WRITE, addresses.DATA, addresses.DATA_SIZE
            ),
            *(elf.Section(name, content) for name, content in made.items()),
        ]
        return elf.write(sections, list(self._symbols()), addresses.TEXT)

    # ---- what there is

    def _number(self, image: Image | None) -> int:
        return next(number for number, one in enumerate(self._images) if one is image)

    def _kernel(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Addresses of stubs, of symbols that are code of their own, and of variables."""
        machine = self._target.machine
        known = dict(self._target.engine.layout.symbols)
        for image in self._images[1:]:
            for reloc in (reloc for native in image.functions for reloc in native.relocs if reloc.symbol):
                find = machine.symbol if reloc.kind in ("call", "jump") else machine.data_symbol
                known[reloc.symbol] = find(reloc.symbol)
        stubs, natives, data = {}, {}, {}
        for name, addr in known.items():
            if addresses.STUBS <= addr < STUBS_END:
                stubs[name] = addr
            elif addresses.TEXT <= addr < addresses.TEXT + addresses.TEXT_SIZE:
                natives[name] = addr
            else:
                data[name] = addr
        return stubs, natives, data

    def _own(self) -> tuple[tuple[str, int, int], tuple[str, int, int]]:
        """Name, address and size of the sandbox's own code: what calls the program, and where stubs wait for an answer."""
        ask = self._target.machine.ask
        return (ENTRY, addresses.TEXT, ask - addresses.TEXT), (_STUBS, ask, addresses.NATIVES - ask)

    def _symbols(self) -> Iterator[elf.Symbol]:
        yield elf.Symbol(self._target.engine.world.program.name, kind=elf.FILE, local=True)
        for one in self._functions:
            yield elf.Symbol(self._names[one.addr], one.addr, len(one.code), section=".text")
        for name, addr in self._stubs.items():
            for alias in dict.fromkeys((name, callee_of(name).name)):
                yield elf.Symbol(alias, addr, addresses.STUB_SIZE, section=".text.kernel")
        for name, addr in self._natives.items():
            yield elf.Symbol(name, addr, addresses.STUB_SIZE, section=".text.kernel")
        for name, addr in self._variables.items():
            yield elf.Symbol(name, addr, addresses.DATA_STEP, elf.OBJECT, ".data.kernel")
        for name, addr, size in self._own():
            yield elf.Symbol(name, addr, size, section=".text.kernel")

    # ---- functions of the program

    def _file(self, name: str) -> int:
        return self._files.setdefault(name, len(self._files) + 1)

    def _lines(self, function: Function) -> lines.Code:
        image, program = function.image, self._number(function.image)
        assert image is not None
        native, sub = image.functions[function.number], image.verified.subprogs[function.number]
        rows = [self._row(function.addr, self._sources.head(program, _start(function)))]
        first = True
        for off, slot in _pieces(native, sub):
            row = self._row(
                function.addr + off, self._sources.line(program, image.verified.origin[slot]), body=first
            )
            if first or (row.file, row.line) != (rows[-1].file, rows[-1].line):
                rows.append(row)
            first = False
        return lines.Code(tuple(rows), function.end)

    def _row(self, addr: int, line: Line, *, body: bool = False) -> lines.Row:
        return lines.Row(addr, self._file(line.file), line.number, body)

    def _told(self, function: Function) -> debug_info.Function:
        image = function.image
        assert image is not None
        verified, native = image.verified, image.functions[function.number]
        sub = verified.subprogs[function.number]
        params = parameters(verified, function.number) or variables.unnamed(sub.arg_cnt)
        result, types = _types(verified, function.number)
        head = self._sources.head(self._number(image), _start(function))
        entered = [
            function.addr + off for off, slot in _pieces(native, sub) if slot in verified.indirect_targets
        ]
        ends = variables.ends_of(function.code, function.addr, entered)
        return debug_info.Function(
            self._names[function.addr],
            function.addr,
            len(function.code),
            result,
            variables.parameters(params, function.addr, ends, types),
            tuple(one for one in variables.registers(function) if one.name not in {p.name for p in params}),
            self._file(head.file),
            head.number,
            sub.kind != "static",
        )

    def _told_stub(self, name: str, addr: int) -> debug_info.Function:
        callee = callee_of(name)
        proto = callee.proto
        params = proto.params if proto is not None else variables.unnamed(callee.nargs)
        ends = dict.fromkeys(variables.REGISTERS, addr + 1)
        ret = proto.ret if proto is not None else None if callee.void else variables.WORD_TYPE
        told = variables.parameters(params, addr, ends)
        return debug_info.Function(name, addr, addresses.STUB_SIZE, ret, told)

    # ---- frames

    def _frames(self) -> Iterator[cfi.Function]:
        for one in self._functions:
            if one.image is not None:
                frame = one.image.functions[one.number].frame
                rows = cfi.rows_of(frame) if frame.moves else sweep.rows_of(one.code)
                if rows:
                    yield cfi.Function(one.addr, len(one.code), rows)
        entered = cfi.Row(0, "rsp", WORD, _RETURN)
        saved = {reg: -WORD * (number + 2) for number, reg in enumerate(SAVED_REGISTERS)}
        calls_back = cfi.Row(CALLING - 1, "rsp", stack.CALLBACK_CFA, _RETURN | saved)
        for addr in self._stubs.values():
            yield cfi.Function(addr, addresses.STUB_SIZE, [entered, calls_back])
        in_body = cfi.Row(0, "rbp", 2 * WORD, _RETURN | {"rbp": -2 * WORD})
        for name, addr in self._natives.items():
            row = in_body if "indirect" in name else entered
            yield cfi.Function(addr, addresses.STUB_SIZE, [row])
        (_, addr, size), (_, shared, length) = self._own()
        yield cfi.Function(addr, size, [cfi.Row(0, "rsp", WORD, {})])
        yield cfi.Function(shared, length, [entered])


def _pieces(native: NativeFunction, sub: Subprog) -> Iterator[tuple[int, int]]:
    """Native offset and slot of all code whose slot is known, ascending."""
    if not native.offsets:
        yield from ((off, slot) for off, slot in native.points if slot >= 0)
        return
    for number, (off, end) in enumerate(pairwise(native.offsets)):
        if off < end:  # else nothing came of it
            yield off, sub.start + number


def _name(function: Function, program: str) -> str:
    """Its name, or one that can be typed where it has none."""
    if _WORD.fullmatch(function.name):
        return function.name
    start = _start(function) if function.image is not None else 0
    return (
        f"{_NO_WORD.sub('_', program) or 'func'}_{start}" if start else _NO_WORD.sub("_", program) or "func"
    )


def _start(function: Function) -> int:
    """Its first instruction in the program, which may be gone from what is left of it after verification."""
    assert function.image is not None
    verified = function.image.verified
    return function_of(verified.program, verified.origin[verified.subprogs[function.number].start])


def _types(verified: Verified, number: int) -> tuple[AnyType, Sequence[AnyType]]:
    """What a function returns and takes, as far as BTF has it; else a word and nothing."""
    program = verified.program
    origin = verified.origin[verified.subprogs[number].start]
    for info in program.func_info if program.btf is not None else ():
        if info.insn == origin:
            assert program.btf is not None
            proto = program.btf.type(program.btf.type(info.type_id).type)
            params = program.btf.prototype(info.type_id).params
            taken = [BtfRef(program.btf, param.type) for param in proto.params[: len(params)]]
            return BtfRef(program.btf, proto.type), taken
    return variables.WORD_TYPE, ()
