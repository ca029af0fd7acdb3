"""Prototypes of generated functions, and the BTF of a program that has them. Fast: all but the functions is made once.

Names of functions, parameters and types come from fixed lists, so that the strings are the same for every program.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from bpf.btf import Btf
from bpf.btf_build import BtfBuilder
from bpf.btf_plain import SPIN_LOCK
from bpf.btf_types import GLOBAL, STATIC, BtfType, Kind, ParamType
from bpf.decl import parse_type
from bpf.exceptions import TAG

SCALARS = ("u64", "s64", "long", "u32", "s32", "int", "u16", "s16", "u8", "s8", "bool", "enum color")
RETURNS = ("u64", "s64", "long", "u32", "int")
_POINTERS = ("u64 *", "struct pair *", "struct __sk_buff *", "struct xdp_md *", "void *")
_PARAMS = (*"abcdefghijkl", "ctx")
MAX_FUNCTIONS = 20
CATCH = "catch"  # the function that takes exceptions
LOCKED_SIZE, LOCK_AT = 64, 24  # of values with a lock: bytes, and where in them it lies


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter as C declares it (`text`), and what a caller must pass.

    room: 0 for a number, else how many bytes the callee may read and write behind the pointer. ctx: the context.
    bound: of a number, the largest that the callee can stand (it uses it as an index); None when any will do. opaque: the
    callee leaves it alone.
    """

    text: str
    room: int = 0
    ctx: bool = False
    bound: int | None = None
    opaque: bool = False

    @property
    def scalar(self) -> bool:
        """Whether any number will do."""
        return not (self.room or self.ctx or self.opaque)


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of the program. ret: its C type, a number. linkage: STATIC or GLOBAL.

    callback: "" or who calls it: a helper ("loop", "each") or an exception ("catch"). quiet: it does nothing that may not be
    done while a lock is held.
    """

    name: str
    params: tuple[Param, ...]
    ret: str = "u64"
    linkage: int = STATIC
    callback: str = ""
    quiet: bool = False

    @property
    def slots(self) -> int:
        """How many of its arguments travel in stack slots."""
        return max(len(self.params) - 5, 0)


def _base() -> tuple[Btf, dict[str, int], dict[str, int], tuple[int, int]]:
    builder = BtfBuilder()
    ids = {text: builder.ctype(parse_type(text)) for text in (*SCALARS, *_POINTERS)}
    names = ("main", *(f"f{number}" for number in range(MAX_FUNCTIONS)), CATCH, TAG + CATCH, *_PARAMS)
    offsets = {name: builder.string(name) for name in names}
    number = ids["u32"]
    lock = builder.struct(SPIN_LOCK, 4, (("val", number, 0),))
    value = builder.struct("value", LOCKED_SIZE, (("lock", lock, 8 * LOCK_AT),))
    return builder.build(), ids, offsets, (number, value)


_BASE, _IDS, _NAMES, LOCKED_TYPES = _base()  # the last: of keys and values of a map with a lock


@lru_cache(maxsize=1 << 14)
def _proto(ret: str, params: tuple[str, ...]) -> BtfType:
    names = ("ctx",) if params and params[0] in _POINTERS[2:] and len(params) == 1 else _PARAMS
    made = tuple(ParamType(_NAMES[name], _IDS[text], name) for name, text in zip(names, params, strict=False))
    return BtfType(Kind.FUNC_PROTO, type=_IDS[ret], params=made)


@lru_cache(maxsize=1 << 10)
def _func(name: str, proto: int, linkage: int) -> BtfType:
    return BtfType(Kind.FUNC, name_off=_NAMES[name], name=name, type=proto, linkage=linkage)


def btf_of(functions: Sequence[Signature]) -> tuple[Btf, tuple[int, ...]]:
    """BTF with a FUNC for each function, the main one first, and their type ids. Names must be "main", f0 to f19 or `CATCH`."""
    types = list(_BASE.types)
    ids = []
    for function in functions:
        types.append(_proto(function.ret, tuple([param.text for param in function.params])))
        types.append(_func(function.name, len(types) - 1, function.linkage))
        ids.append(len(types) - 1)
    if any(function.name == CATCH for function in functions):
        tag = TAG + CATCH
        types.append(BtfType(Kind.DECL_TAG, name_off=_NAMES[tag], name=tag, type=ids[0], component=-1))
    return Btf(tuple(types), _BASE.strings), tuple(ids)


__all__ = [
    "CATCH",
    "GLOBAL",
    "LOCKED_SIZE",
    "LOCKED_TYPES",
    "LOCK_AT",
    "MAX_FUNCTIONS",
    "RETURNS",
    "SCALARS",
    "STATIC",
    "Param",
    "Signature",
    "btf_of",
]
