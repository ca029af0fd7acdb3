"""What the main pass learned that the rewriting needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Facts:
    """Of an accepted program, by the slots of `Program.insns`.

    seen: whether any path reached the slot; both slots of an ld_imm64 alike. map_of_call: number of the map that a helper
    call always had, absent where there were several. loop_inline: number of the function that a bpf_loop call always
    calls back, where it may be inlined. depths: bytes of r10 stack of each function. writes: outgoing stack-argument
    slots that each function writes, the deepest plus one.
    """

    seen: tuple[bool, ...]
    map_of_call: Mapping[int, int] = field(default_factory=dict)
    loop_inline: Mapping[int, int] = field(default_factory=dict)
    depths: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
