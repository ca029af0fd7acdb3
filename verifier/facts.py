"""What the main pass learned that the rewriting needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bpf.insn import Insn


@dataclass(frozen=True, slots=True)
class Facts:
    """Of an accepted program, by the slots of `Program.insns`.

    insns: the program with the jumps whose way is known made unconditional. seen: whether any path reached the slot; both slots of an ld_imm64 alike. map_of_call: number of the map that a helper
    call always had, absent where there were several. loop_inline: number of the function that a bpf_loop call always
    calls back, where it may be inlined. tail_calls: (number of the prog array, index) of a tail call that always has both. depths: bytes of r10 stack of each function. writes: outgoing stack-argument
    slots that each function writes, the deepest plus one. probed: loads whose faults are caught; in_arena: accesses
    through a pointer to the arena, and 64-bit arithmetic on one; converted: accesses of contexts and sockets that the kernel turns into accesses of its own
    structures. narrow: instructions that write 32 bits of a register whose upper half is read later.
    """

    insns: tuple[Insn, ...]
    seen: tuple[bool, ...]
    map_of_call: Mapping[int, int] = field(default_factory=dict)
    loop_inline: Mapping[int, int] = field(default_factory=dict)
    depths: tuple[int, ...] = ()
    tail_calls: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    writes: tuple[int, ...] = ()
    probed: frozenset[int] = frozenset()
    in_arena: frozenset[int] = frozenset()
    converted: frozenset[int] = frozenset()
    narrow: frozenset[int] = frozenset()
