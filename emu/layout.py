"""Where an image lies when nothing runs it: the request's own `place`, or addresses that look like a kernel's."""

from bpf.errors import InputError
from bpf.program import Placement
from jit.image import Image, Layout

FUNCTIONS = 0xFFFF_FFFF_C000_0000
SYMBOLS = 0xFFFF_FFFF_8100_0000
MAPS = 0xFFFF_8880_0400_0000
ALIGN = 64


def layout_for(image: Image, place: Placement | None = None) -> Layout:
    """Addresses for everything an image refers to.

    place.functions: one address a function, or none; place.maps: for each map what a reference to it resolves to,
    the struct bpf_map for a map pointer, the first value for a value pointer; place.symbols: by name.
    Whatever is not placed gets an address of its own. Raises InputError when the number of functions is wrong.
    """
    place = place or Placement()
    functions = place.functions or _functions(image)
    if len(functions) != len(image.functions):
        raise InputError(
            image.verified.program.name, "field place.functions",
            f"{len(functions)} addresses for {len(image.functions)} functions",
        )  # fmt: skip
    names = sorted(
        {reloc.symbol for function in image.functions for reloc in function.relocs if reloc.symbol}
    )
    symbols = {name: SYMBOLS + 16 * index for index, name in enumerate(names)} | dict(place.symbols)
    count = len(image.verified.program.maps)
    maps = tuple(place.maps[i] if i < len(place.maps) else MAPS + 0x1_0000 * i for i in range(count))
    return Layout(tuple(functions), symbols, maps, maps)


def _functions(image: Image) -> tuple[int, ...]:
    out, at = [], FUNCTIONS
    for function in image.functions:
        out.append(at)
        at += -(-len(function.code) // ALIGN) * ALIGN
    return tuple(out)
