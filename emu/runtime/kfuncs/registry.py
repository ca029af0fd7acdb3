"""Declaring a kfunc: the decorator, the conversion of arguments and results, and loading a user's module."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpf.decl import parse_decl
from bpf.errors import BpfemuError, InputError
from bpf.kfuncs import KFUNCS, Kfunc
from bpf.proto import CType, FuncProto
from emu.runtime.callback import Callback, HelperResult
from emu.runtime.memory import GuestFault
from emu.runtime.traps import HelperTrap

if TYPE_CHECKING:
    from emu.runtime.world import World

MASK = (1 << 64) - 1
MAX_PARAMS = 12  # MAX_BPF_FUNC_ARGS

Words = Callable[..., HelperResult]  # (world, *64-bit words) -> r0 or a generator

# By name: what World.kfunc calls with the world and as many words as the prototype has parameters.
IMPLEMENTED: dict[str, Words] = {}


class Rax(int):
    """A result that is all 64 bits of rax, whatever the declared type: narrow values with garbage above them."""

    __slots__ = ()


def implement(
    proto: FuncProto, function: Words, *, flags: frozenset[str] = frozenset(), module: str = ""
) -> None:
    """Let `function`, which takes 64-bit words as they were passed, be the kfunc `proto`.

    A prototype that the table does not have is added to it. Raises InputError when the table has another one of
    that name, or when there are more parameters than a BPF program can pass.
    """
    if len(proto.params) > MAX_PARAMS:
        raise InputError(
            f"kfunc {proto.name}", "", f"has {len(proto.params)} parameters, at most 12 can be passed"
        )
    known = KFUNCS.get(proto.name)
    if known is None:
        KFUNCS[proto.name] = Kfunc(proto.name, module, flags, str(proto))
    elif str(known.proto) != str(proto):
        raise InputError(f"kfunc {proto.name}", "", f"is known as {known.proto}")
    IMPLEMENTED[proto.name] = function


def kfunc(
    declaration: str, *, flags: str = "", module: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a kfunc by a C prototype; the decorated function is called as function(world, *arguments).

    Arguments are what C sees: numbers of the declared width and sign (True and False for bool), pointers as
    guest addresses. The result is a number, None for void, or `Rax`. flags: KF_* flags in small letters, separated
    by spaces. A generator function may yield `Callback`s. The function may raise GuestFault and HelperTrap; anything
    else it raises ends the run as a trap, too. Raises InputError when prototype and function do not fit.
    """
    proto = parse_decl(declaration, "kfunc")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            inspect.signature(function).bind(None, *proto.params)
        except TypeError as error:
            raise InputError(
                f"kfunc {proto.name}",
                "",
                f"its Python function cannot take a world and {len(proto.params)} arguments: {error}",
            ) from None
        implement(proto, _convert(proto, function), flags=frozenset(flags.split()), module=module)
        return function

    return register


def _reader(made: CType) -> Callable[[int], int] | None:
    """How C reads a parameter of this type from a 64-bit word, None for as it is."""
    if made.kind == "bool":
        return lambda word: bool(word & 0xFF)
    if made.kind not in ("int", "enum") or (made.bits >= 64 and not made.signed):
        return None
    if not made.signed:
        return made.extend
    return lambda word: value - (1 << 64) if (value := made.extend(word)) >> 63 else value


def result(made: CType, value: Any) -> int:
    """r0 after a kfunc of this return type gave `value`.

    Compiled code computes in 32 bits at least, so a narrow result is extended to 32 bits, by its sign, and the
    upper half of the register is zero.
    """
    if isinstance(value, Rax):
        return int(value) & MASK
    if value is None:
        return 0
    if made.kind == "bool":
        return int(bool(value))
    if made.kind in ("int", "enum") and made.bits <= 32:
        return made.extend(int(value) & MASK) & 0xFFFFFFFF
    return int(value) & MASK


def _convert(proto: FuncProto, function: Callable[..., Any]) -> Words:
    readers = tuple(_reader(param.type) for param in proto.params)
    ret = proto.ret

    def read(words: tuple[int, ...]) -> list[int]:
        return [word if reader is None else reader(word) for reader, word in zip(readers, words, strict=True)]

    def failed(error: Exception) -> Exception:
        if isinstance(error, GuestFault | HelperTrap | BpfemuError):
            return error
        return HelperTrap("helper", f"kfunc {proto.name}: {type(error).__name__}: {error}")

    if inspect.isgeneratorfunction(function):

        def run(world: "World", *words: int) -> Generator[Callback, int, int]:
            try:
                value = yield from function(world, *read(words))
            except Exception as error:
                raise failed(error) from error
            return result(ret, value)

        return run

    def call(world: "World", *words: int) -> int:
        try:
            return result(ret, function(world, *read(words)))
        except Exception as error:
            raise failed(error) from error

    return call


def load(path: str) -> tuple[str, ...]:
    """Run a user's Python file and return the names of the kfuncs that it declared.

    Raises InputError when the file cannot be read, fails, or declares none.
    """
    before = dict(IMPLEMENTED)
    spec = importlib.util.spec_from_file_location(f"bpfemu_kfuncs_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(path, "", "is no Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error)) from None
    except InputError as error:
        raise InputError(path, error.what, error.why) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: it must not pass for an answer
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(path, _line(error, path), f"{type(error).__name__}: {said}") from error
    names = tuple(name for name, function in IMPLEMENTED.items() if before.get(name) is not function)
    if not names:
        raise InputError(path, "", "declares no kfunc")
    return names


def _line(error: BaseException, path: str) -> str:
    """Where in the user's file an exception came from."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}" if error.lineno else ""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            found = f"line {trace.tb_lineno}"
        trace = trace.tb_next
    return found
