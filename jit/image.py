"""Native code with its relocations: what the JIT makes and the sandbox loads."""

from dataclasses import dataclass

from bpf.verified import Verified
from jit.frame import Frame


@dataclass(frozen=True, slots=True)
class Reloc:
    """Bytes of a function that depend on where something lies.

    off: of the field in `NativeFunction.code`. size: 4 or 8 bytes. kind:
      "call"   rel32 to another function of the image (target: its number) or to `symbol`
      "jump"   as call, but of an e9
      "map"    absolute address of the struct bpf_map of map `target`
      "mapval" absolute address of the values of map `target`, plus `addend`
      "func"   absolute address of function `target` of the image, 4 bytes sign-extended
      "symbol" absolute address of `symbol`, plus `addend`; 4 bytes are sign-extended by the processor
      "rel"    rel32 to `symbol` plus `addend`, of an instruction that goes on behind the field
    insn: index in `Verified.insns` of the instruction that it belongs to, -1 in the prologue.
    """

    off: int
    size: int
    kind: str
    target: int = -1
    symbol: str = ""
    addend: int = 0
    insn: int = -1


@dataclass(frozen=True, slots=True)
class Poke:
    """A direct tail call: while the array's entry is empty, `bypass` jumps over it and `target` is a nop of 5 bytes.

    When the entry is filled the kernel makes `target` a jump to the program's tail-call entry and `bypass` a nop.
    insn: index in `Verified.insns`. number: the call's immediate, from 1. bypass, target: offsets in the code.
    """

    insn: int
    number: int
    bypass: int
    target: int


@dataclass(frozen=True, slots=True)
class NativeFunction:
    """One compiled function.

    code: bytes; fields under a relocation hold zeros. prologue: its length in bytes.
    offsets: for each slot in [start, end) of the Subprog the native offset of its first byte, then one more
      entry, the length of the code; an instruction that emits nothing has an empty range, and the second slot
      of an ld_imm64 has the offset behind it.
    extable: (offset, length, x86 register to clear) of fault-tolerant loads and stores; "" = nothing to clear.
    pokes: direct tail calls.
    points: of code that another compiler made, and whose `offsets` are empty: for each native instruction its offset and
      its slot, -1 where that is not known. Its prologue is 0 where that is not known, and its frame says nothing.
    """

    name: str
    code: bytes
    prologue: int
    offsets: tuple[int, ...]
    relocs: tuple[Reloc, ...]
    frame: Frame
    passes: int = 0
    extable: tuple[tuple[int, int, str], ...] = ()
    pokes: tuple[Poke, ...] = ()
    points: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an image is placed: absolute addresses, of every function, symbol and map it refers to.

    maps: of each struct bpf_map; values: of the values of array maps (0 for others).
    """

    functions: tuple[int, ...]
    symbols: dict[str, int]
    maps: tuple[int, ...] = ()
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """All functions of a program, in the order of `Verified.subprogs`, position-independent up to relocations.

    starts: of code that is one piece, where each function lies in it, the main function at 0; () where functions may lie anywhere.
    """

    verified: Verified
    functions: tuple[NativeFunction, ...]
    starts: tuple[int, ...] = ()
