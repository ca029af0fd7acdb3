"""Maps of an object: the definitions in .maps, and the sections of global data, as `MapSpec` in libbpf's order.

A definition is a BTF struct whose members say everything: `int (*max_entries)[16]` is max_entries = 16,
`typeof(struct item) *value` is the type of the values. Nothing of it is in the bytes of the section.

Source: libbpf 1.7 parse_btf_map_def, bpf_object__init_internal_map, bpf_object__collect_map_relos.
"""

from bisect import bisect_right
from dataclasses import dataclass, field, replace

from bpf.btf import GLOBAL, STATIC, Btf, BtfType, Kind, Member, SecVar
from bpf.elf_file import FUNC, SHT_NOBITS, SHT_PROGBITS, ElfObject, Section, Symbol
from bpf.errors import InputError
from bpf.maps import MapSpec, MapType

MAPS = ".maps"
F_RDONLY_PROG = 1 << 7
F_MMAPABLE = 1 << 10
_PAGE = 4096

# libbpf creates these without BTF types of key and value
_NO_BTF = frozenset(
    {
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.QUEUE,
        MapType.STACK,
        MapType.ARENA,
    }
)
_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
_RINGS = (MapType.RINGBUF, MapType.USER_RINGBUF)
# whose elements can be read one by one after a run
_DUMPED = frozenset(
    {
        MapType.HASH,
        MapType.ARRAY,
        MapType.LRU_HASH,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.LPM_TRIE,
    }
)
_NUMBERS = {
    "type": "type",
    "max_entries": "max_entries",
    "map_flags": "flags",
    "key_size": "key_size",
    "value_size": "value_size",
}


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """A map and where it is in the file. section: index; offset: bytes in it; values_at: byte of the `values` member, or None."""

    spec: MapSpec
    section: int
    offset: int = 0
    size: int = 0
    values_at: int | None = None


@dataclass(slots=True)
class _Definition:
    """What the members of a map's struct said so far."""

    numbers: dict[str, int] = field(default_factory=dict)
    inner: MapSpec | None = None
    values_at: int | None = None
    extra: int = 0


def collect(elf: ElfObject, btf: Btf | None) -> tuple[ObjectMap, ...]:
    """All maps of an object: those of .maps by offset, then one for each section of global data by section index.

    `btf` must have its DATASECs fixed up. Raises InputError for definitions that libbpf refuses too.
    """
    maps = [*_declared(elf, btf), *_data_maps(elf, btf)]
    return _with_values(elf, maps)


# ---- definitions in .maps


def _declared(elf: ElfObject, btf: Btf | None) -> list[ObjectMap]:
    section = elf.find(MAPS)
    if section is None:
        return []
    datasec = btf.find(MAPS, Kind.DATASEC) if btf else None
    if btf is None or datasec is None:
        raise InputError(elf.what, f"section {MAPS}", "no BTF describes the maps; compile with -g")
    return [_declared_map(elf, btf, section, var) for var in btf.types[datasec].vars]


def _declared_map(elf: ElfObject, btf: Btf, section: Section, place: SecVar) -> ObjectMap:
    var = btf.type(place.type)
    where = f"map {var.name}"
    if var.kind is not Kind.VAR or not var.name:
        raise InputError(
            elf.what,
            f"section {MAPS}",
            f"type {place.type} ({var.kind.name} {var.name!r}) is no named variable",
        )
    if var.linkage != GLOBAL:
        raise InputError(elf.what, where, "a map must be a global, not hidden and not static variable")
    if place.offset + place.size > len(section.data):
        raise InputError(
            elf.what,
            where,
            f"bytes {place.offset}..{place.offset + place.size} are past the end of section {MAPS}",
        )
    struct = btf.type(btf.resolve(var.type))
    if struct.kind is not Kind.STRUCT:
        raise InputError(elf.what, where, f"its type is {struct.kind.name}, expected a struct")
    if struct.size > place.size:
        raise InputError(elf.what, where, f"its struct has {struct.size} bytes, its variable {place.size}")
    spec, values_at = _parse(elf.what, btf, struct, var.name, inner=False)
    return ObjectMap(spec, section.index, place.offset, place.size, values_at)


def _parse(what: str, btf: Btf, struct: BtfType, name: str, *, inner: bool) -> tuple[MapSpec, int | None]:
    found = _Definition()
    where = f"map {name}"
    for member in struct.members:
        if found.values_at is not None:
            raise InputError(what, where, "member values is not the last one")
        _read_member(what, where, btf, member, found, inner=inner)
    numbers = found.numbers
    if not numbers.get("type"):
        raise InputError(what, where, "its definition has no type")
    spec = MapSpec(
        name,
        numbers["type"],
        numbers.get("key_size", 0),
        numbers.get("value_size", 0),
        numbers.get("max_entries", 0),
        numbers.get("flags", 0),
        btf_key=numbers.get("btf_key", 0),
        btf_value=numbers.get("btf_value", 0),
        inner=found.inner,
        extra=found.extra,
    )
    return _finish(what, where, spec), found.values_at


def _read_member(what: str, where: str, btf: Btf, member: Member, found: _Definition, *, inner: bool) -> None:
    match member.name:
        case "type" | "max_entries" | "map_flags" | "key_size" | "value_size":
            key, value = _NUMBERS[member.name], _number(what, where, btf, member)
            if key.endswith("_size") and found.numbers.get(key, value) != value:
                raise InputError(
                    what,
                    where,
                    f"{member.name} {value} conflicts with the {found.numbers[key]} bytes of its type",
                )
            found.numbers[key] = value
        case "key" | "value":
            target = _pointee(what, where, btf, member)
            size, key = btf.size_of(target), f"{member.name}_size"
            if found.numbers.get(key, size) != size:
                raise InputError(
                    what,
                    where,
                    f"the {size} bytes of type {member.name} conflict with {key} {found.numbers[key]}",
                )
            found.numbers[key] = size
            found.numbers[f"btf_{member.name}"] = target
        case "map_extra":
            found.extra = _long(what, where, btf, member)
        case "pinning" | "numa_node":  # nothing outside this run keeps or places maps
            _number(what, where, btf, member)
        case "values":
            if inner:
                raise InputError(what, where, "an inner map cannot have values")
            _read_values(what, where, btf, member, found)
        case _:
            raise InputError(what, where, f"unknown member {member.name!r} in its definition")


def _read_values(what: str, where: str, btf: Btf, member: Member, found: _Definition) -> None:
    array = btf.type(btf.resolve(member.type))
    if array.kind is not Kind.ARRAY or array.count:
        raise InputError(what, where, "values is not an array of no size")
    pointer = btf.type(btf.resolve(array.type))
    if pointer.kind is not Kind.PTR:
        raise InputError(what, where, f"values holds {pointer.kind.name}, expected pointers")
    target = btf.type(btf.resolve(pointer.type))
    kind = found.numbers.get("type")
    if kind in _OF_MAPS and target.kind is Kind.STRUCT:
        found.inner, _ = _parse(what, btf, target, f"{where.removeprefix('map ')}.inner", inner=True)
    elif kind != MapType.PROG_ARRAY or target.kind is not Kind.FUNC_PROTO:
        raise InputError(what, where, f"values of a map of type {kind} cannot point to {target.kind.name}")
    if found.numbers.get("value_size", 4) != 4:
        raise InputError(
            what, where, f"value_size {found.numbers['value_size']} conflicts with values, which have 4 bytes"
        )
    found.numbers["value_size"] = 4
    found.values_at = member.offset // 8


def _finish(what: str, where: str, spec: MapSpec) -> MapSpec:
    """What libbpf adds to a definition before it creates the map."""
    if spec.type == MapType.STRUCT_OPS:
        raise InputError(what, where, f"maps of type {MapType(spec.type).name.lower()} are not supported")
    if spec.type in _RINGS:
        spec = replace(spec, max_entries=_ring_size(spec.max_entries))
    if spec.type == MapType.PERF_EVENT_ARRAY:
        # one entry a CPU, and there is one; its keys and values are always file descriptors
        spec = replace(
            spec,
            max_entries=spec.max_entries or 1,
            key_size=spec.key_size or 4,
            value_size=spec.value_size or 4,
        )
    if spec.type in _NO_BTF:
        spec = replace(spec, btf_key=0, btf_value=0)
    return replace(spec, dump=spec.type in _DUMPED)


def _ring_size(size: int) -> int:
    """The next power of two of whole pages, as libbpf rounds it."""
    if not size or (size % _PAGE == 0 and (size // _PAGE).bit_count() == 1):
        return size
    pages = 1
    while pages * _PAGE <= size:
        pages *= 2
    return pages * _PAGE if pages * _PAGE < 1 << 32 else size


def _pointee(what: str, where: str, btf: Btf, member: Member) -> int:
    pointer = btf.type(btf.resolve(member.type))
    if pointer.kind is not Kind.PTR:
        raise InputError(what, where, f"member {member.name} is {pointer.kind.name}, expected a pointer")
    return pointer.type


def _number(what: str, where: str, btf: Btf, member: Member) -> int:
    array = btf.type(btf.resolve(_pointee(what, where, btf, member)))
    if array.kind is not Kind.ARRAY:
        raise InputError(what, where, f"member {member.name} points to {array.kind.name}, expected an array")
    return array.count


def _long(what: str, where: str, btf: Btf, member: Member) -> int:
    """A number of 64 bits: the value of an enum with one enumerator, else as `_number`."""
    target = btf.type(btf.resolve(member.type))
    if target.kind in (Kind.ENUM, Kind.ENUM64):
        if len(target.values) != 1:
            raise InputError(
                what, where, f"member {member.name} is an enum of {len(target.values)} values, expected 1"
            )
        return target.values[0].value & (1 << 64) - 1
    return _number(what, where, btf, member)


# ---- sections of global data


def data_kind(section: Section) -> str | None:
    """ ".data", ".rodata" or ".bss" when a section is one of global data, else None."""
    for kind, of_type in ((".data", SHT_PROGBITS), (".rodata", SHT_PROGBITS), (".bss", SHT_NOBITS)):
        if (
            section.type == of_type
            and not section.executable
            and (section.name == kind or section.name.startswith(kind + "."))
        ):
            return kind
    return None


def _data_maps(elf: ElfObject, btf: Btf | None) -> list[ObjectMap]:
    maps = []
    for section in elf.sections:
        kind = data_kind(section)
        if kind is None or not section.data:
            continue
        datasec = btf.find(section.name, Kind.DATASEC) if btf else None
        readonly = kind == ".rodata"
        flags = F_RDONLY_PROG if readonly else 0
        if btf and datasec is not None and _mappable(btf, btf.types[datasec]):
            flags |= F_MMAPABLE
        elems = () if kind == ".bss" else ((bytes(4), section.data),)
        spec = MapSpec(
            section.name,
            MapType.ARRAY,
            4,
            len(section.data),
            1,
            flags,
            elems,
            freeze=readonly,
            dump=True,
            btf_value=datasec or 0,
        )
        maps.append(ObjectMap(spec, section.index, 0, len(section.data)))
    return maps


def _mappable(btf: Btf, datasec: BtfType) -> bool:
    """Whether user space may map the section: it has a variable that other files can see."""
    return any(
        btf.types[v.type].kind is Kind.VAR and btf.types[v.type].linkage != STATIC for v in datasec.vars
    )


# ---- initial values of .maps


def _with_values(elf: ElfObject, maps: list[ObjectMap]) -> tuple[ObjectMap, ...]:
    """The maps with what the relocations of .maps put into them: programs or inner maps."""
    section = elf.find(MAPS)
    if section is None:
        return tuple(maps)
    declared = [m for m in maps if m.section == section.index]
    names = {m.spec.name for m in declared}
    found: dict[int, list[tuple[int, str]]] = {}
    for number, relocation in enumerate(elf.relocations.get(section.index, ())):
        place = f"section .rel{MAPS}, relocation {number}"
        at = bisect_right(declared, relocation.offset, key=lambda m: m.offset) - 1
        owner = declared[at] if at >= 0 else None
        if owner is None or owner.values_at is None or relocation.offset >= owner.offset + owner.size:
            raise InputError(elf.what, place, f"byte {relocation.offset} belongs to no map with values")
        slot = relocation.offset - owner.offset - owner.values_at
        if slot < 0 or slot % 8:
            raise InputError(
                elf.what, place, f"byte {slot} of the values of map {owner.spec.name} is no element"
            )
        symbol = elf.symbols[relocation.symbol]
        if owner.spec.type == MapType.PROG_ARRAY:
            if not _is_program(elf, symbol):
                raise InputError(elf.what, place, f"{symbol.name!r} in map {owner.spec.name} is no program")
        elif symbol.section != section.index or symbol.name not in names:
            raise InputError(elf.what, place, f"{symbol.name!r} in map {owner.spec.name} is no map")
        found.setdefault(at, []).append((slot // 8, symbol.name))
    for at, entries in found.items():
        spec = declared[at].spec
        filled = (
            replace(spec, progs=tuple(entries))
            if spec.type == MapType.PROG_ARRAY
            else replace(spec, inner_maps=tuple(entries))
        )
        maps[maps.index(declared[at])] = replace(declared[at], spec=filled)
    return tuple(maps)


def _is_program(elf: ElfObject, symbol: Symbol) -> bool:
    if symbol.type != FUNC or not 0 < symbol.section < len(elf.sections):
        return False
    section = elf.sections[symbol.section]
    return section.executable and section.name != ".text"
