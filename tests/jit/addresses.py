"""Where the kernel's code says that everything lies, for recordings that name no addresses."""

from jit.image import Image, Layout


def solve(image: Image, codes: list[bytes], functions: tuple[int, ...]) -> Layout:
    """Addresses read from the kernel's bytes, the first field of each."""
    symbols: dict[str, int] = {}
    maps = [0] * len(image.verified.program.maps)
    values = list(maps)
    for number, function in enumerate(image.functions):
        for reloc in function.relocs:
            end = reloc.off + reloc.size
            value = int.from_bytes(codes[number][reloc.off : end], "little", signed=True) - reloc.addend
            if reloc.kind in ("call", "jump", "rel"):
                value += functions[number] + end
            if reloc.symbol:
                symbols.setdefault(reloc.symbol, value)
            elif reloc.kind == "map":
                maps[reloc.target] = maps[reloc.target] or value
            elif reloc.kind == "mapval":
                values[reloc.target] = values[reloc.target] or value
    return Layout(functions, symbols, tuple(maps), tuple(values))
