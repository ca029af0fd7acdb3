"""Arrays of instructions: the jump tables of indirect jumps (kernel/bpf/bpf_insn_array.c).

User space writes the number of an instruction into each element; what a program reads is where that instruction lies in
the engine that runs it. The map knows no engine: whoever runs the program says where (`place_code`).
"""

from collections.abc import Callable

from bpf.maps import MapSpec
from emu.runtime.maps import BPF_NOEXIST, E2BIG, EEXIST, EINVAL, EPERM, Map
from emu.runtime.maps_array import key_of
from emu.runtime.memory import Memory, Region

VALUE_SIZE = 16  # struct bpf_insn_array_value: orig_off, xlated_off, jitted_off and padding
_VALUES = 296  # offsetof(struct bpf_insn_array, values)
_USED, _IPS = 280, 288
_WORD = 8


class InsnArrayMap(Map):
    """BPF_MAP_TYPE_INSN_ARRAY. table: guest address of the addresses that programs read, 8 bytes each.

    targets: the instruction that user space put into each element. Of the values that user space reads back only this is
    filled in, not where the kernel's rewriting and its JIT moved the instruction to.
    """

    def __init__(self, spec: MapSpec, index: int, memory: Memory, cpus: int = 1) -> None:
        super().__init__(spec, index, memory, cpus)
        count = spec.max_entries
        self.view = self.place(_VALUES + VALUE_SIZE * count, _WORD * count)
        self.table = self.head.end
        self.targets = [0] * count
        self.memory.add(Region(self.table, _WORD * count, "value", self.label, self.view, writable=False))
        self.head.view[_USED] = 1
        self.head.view[_IPS : _IPS + _WORD] = self.table.to_bytes(_WORD, "little")

    def direct(self) -> int:
        """What an ld_imm64 of the map's value loads: the table of addresses."""
        return self.table

    def place_code(self, where: Callable[[int], int]) -> None:
        """Fill the table in. where: from an instruction of the program to its address; 0 where it has none."""
        self.view[:] = b"".join(where(target).to_bytes(_WORD, "little") for target in self.targets)

    def update(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Set an element (user space only); all but the number of the instruction must be 0."""
        del cpu
        index = int.from_bytes(key, "little")
        if index >= self.spec.max_entries:
            return -E2BIG
        if flags & BPF_NOEXIST:
            return -EEXIST
        if any(value[4:12]):
            return -EINVAL
        self.targets[index] = int.from_bytes(value[:4], "little")
        at = _VALUES + VALUE_SIZE * index
        self.head.view[at : at + 4] = value[:4]
        return 0

    def put(self, key: bytes, value: bytes) -> int:
        """As `update`, unless the map is frozen."""
        return -EPERM if self.frozen else self.update(key, value)

    def delete(self, key: bytes) -> int:
        """An element of an array cannot be deleted."""
        del key
        return -EINVAL

    def contents(self) -> tuple[tuple[bytes, bytes], ...]:
        """Every element, in order."""
        return tuple(
            (key_of(at), target.to_bytes(4, "little").ljust(VALUE_SIZE, b"\0"))
            for at, target in enumerate(self.targets)
        )
