"""BTF that says no more than a text can: prototypes, where a map's values hold a lock, which function takes exceptions.

`plain` makes it, `lock_of` and bpf.exceptions read it back from any BTF. Knows no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bpf.btf import Btf
from bpf.btf_build import BtfBuilder
from bpf.btf_types import GLOBAL, Kind
from bpf.errors import InputError
from bpf.exceptions import TAG
from bpf.maps import MapSpec
from bpf.proto import FuncProto

SPIN_LOCK = "bpf_spin_lock"
_LOCK_SIZE = 4


@dataclass(frozen=True, slots=True)
class Plain:
    """ids: of the functions. maps: with the types that their locks need. btf: None when nothing asks for any."""

    ids: tuple[int, ...]
    maps: tuple[MapSpec, ...]
    btf: Btf | None


def plain(
    functions: Sequence[tuple[FuncProto, int]],
    maps: Sequence[MapSpec] = (),
    locks: Sequence[int | None] = (),
    catches: str = "",
    declared: Sequence[FuncProto] = (),
) -> Plain:
    """Functions by prototype and linkage, the main one first.

    locks: for each of `maps` the byte of its values at which a `struct bpf_spin_lock` lies, or None. catches: name of the
    function that takes the program's exceptions, "" for none; without functions it means nothing. declared: kfuncs that no
    table knows; as with libbpf, they look like functions that are there.
    """
    builder = BtfBuilder()
    ids = tuple(builder.function(proto, linkage) for proto, linkage in functions)
    if catches and ids:
        builder.decl_tag(TAG + catches, ids[0])
    for proto in declared:
        builder.function(proto, GLOBAL)
    made = list(maps)
    some = bool(declared)
    for at, lock in enumerate(locks):
        if lock is not None:
            some = True
            made[at] = _with_lock(builder, maps[at], lock)
    return Plain(ids, tuple(made), builder.build() if ids or some else None)


def _with_lock(builder: BtfBuilder, spec: MapSpec, lock: int) -> MapSpec:
    key = builder.int_(f"u{8 * spec.key_size}", spec.key_size) if spec.key_size in (1, 2, 4, 8) else 0
    number = builder.int_("u32", _LOCK_SIZE)
    held = builder.struct(SPIN_LOCK, _LOCK_SIZE, (("val", number, 0),))
    value = builder.struct("value", spec.value_size, (("lock", held, 8 * lock),))
    return replace(spec, btf_key=key, btf_value=value)


def lock_of(spec: MapSpec, btf: Btf | None) -> int | None:
    """The byte of the map's values at which their lock lies; None where BTF names none, or says it in other words."""
    if btf is None or not spec.btf_value:
        return None
    try:
        value = btf.type(btf.resolve(spec.btf_value))
        for member in value.members:
            held = btf.type(btf.resolve(member.type))
            if held.kind is Kind.STRUCT and held.name == SPIN_LOCK and member.offset % 8 == 0:
                return member.offset // 8
    except InputError:
        return None
    return None
