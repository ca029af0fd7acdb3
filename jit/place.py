"""`place`: an image and addresses to the bytes that stand in memory. Knows relocations, no instructions."""

from bpf import isa
from bpf.errors import InputError, InternalError
from jit.image import Image, Layout, NativeFunction, Reloc

_RELATIVE = frozenset(("call", "jump", "rel"))
_HALF = 1 << 63


def place(image: Image, layout: Layout) -> tuple[bytes, ...]:
    """The code of every function with all addresses filled in, for the addresses in `layout`.

    Raises InputError when the layout lacks an address, when a call does not reach its target with 32 bits, or when an
    address does not fit its field.
    """
    if len(layout.functions) < len(image.functions):
        raise InputError(
            "layout", "", f"{len(layout.functions)} addresses for {len(image.functions)} functions"
        )
    return tuple(
        [_place(one, base, layout) for one, base in zip(image.functions, layout.functions, strict=False)]
    )


def _place(function: NativeFunction, base: int, layout: Layout) -> bytes:
    code = bytearray(function.code)
    for reloc in function.relocs:
        end = reloc.off + reloc.size
        if reloc.off < 0 or end > len(code):
            raise InternalError(f"{function.name}: a field at {reloc.off:#x} of {len(code):#x} bytes")
        target = (_target(function, reloc, layout) + reloc.addend) & isa.U64
        if reloc.kind in _RELATIVE:
            value = ((target - (base + end) + _HALF) & isa.U64) - _HALF  # with sign
            if not isa.S32_MIN <= value < -isa.S32_MIN:
                raise InputError(
                    function.name,
                    f"offset {reloc.off:#x}",
                    f"{_name(reloc)} at {target:#x} is out of reach from {base:#x}",
                )
        else:
            value = ((target + _HALF) & isa.U64) - _HALF
            if reloc.size == 4 and not isa.S32_MIN <= value < -isa.S32_MIN:
                raise InputError(
                    function.name,
                    f"offset {reloc.off:#x}",
                    f"{_name(reloc)} at {target:#x} does not fit 32 bits with sign",
                )
        code[reloc.off : end] = value.to_bytes(reloc.size, "little", signed=True)
    return bytes(code)


def _target(function: NativeFunction, reloc: Reloc, layout: Layout) -> int:
    """The address a relocation refers to, without its addend."""
    try:
        if reloc.symbol:
            return layout.symbols[reloc.symbol]
        match reloc.kind:
            case "map":
                return layout.maps[reloc.target]
            case "mapval":
                return layout.values[reloc.target]
            case "call" | "jump" | "func":
                return layout.functions[reloc.target]
            case kind:
                raise InternalError(f"relocation of kind {kind}")
    except (KeyError, IndexError):
        raise InputError("layout", function.name, f"no address for {_name(reloc)}") from None


def _name(reloc: Reloc) -> str:
    if reloc.symbol:
        return reloc.symbol
    what = {"map": "map", "mapval": "values of map"}.get(reloc.kind, "function")
    return f"{what} {reloc.target}"
