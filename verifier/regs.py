"""What one register, spilled register or stack-argument slot holds.

A `Reg` is a value: nobody changes one after it is made, so that states share them and pruning may ask `a is b`. That
is a convention, not a lock, because frozen classes cost too much here. Names and numbers of types are the kernel's
(enum bpf_reg_type, enum bpf_type_flag of include/linux/bpf.h). Knows no instructions.
"""

from typing import TYPE_CHECKING, Any, Final

from bpf.maps import MapSpec
from verifier.num import UNKNOWN, ZERO, Num, const

if TYPE_CHECKING:
    from bpf.btf import Btf

# ---- base types: the low 8 bits of Reg.type

NOT_INIT: Final = 0
SCALAR_VALUE: Final = 1
PTR_TO_CTX: Final = 2
CONST_PTR_TO_MAP: Final = 3
PTR_TO_MAP_VALUE: Final = 4
PTR_TO_MAP_KEY: Final = 5
PTR_TO_STACK: Final = 6
PTR_TO_PACKET_META: Final = 7
PTR_TO_PACKET: Final = 8
PTR_TO_PACKET_END: Final = 9
PTR_TO_FLOW_KEYS: Final = 10
PTR_TO_SOCKET: Final = 11
PTR_TO_SOCK_COMMON: Final = 12
PTR_TO_TCP_SOCK: Final = 13
PTR_TO_TP_BUFFER: Final = 14
PTR_TO_XDP_SOCK: Final = 15
PTR_TO_BTF_ID: Final = 16
PTR_TO_MEM: Final = 17
PTR_TO_ARENA: Final = 18
PTR_TO_BUF: Final = 19
PTR_TO_FUNC: Final = 20
PTR_TO_INSN: Final = 21
CONST_PTR_TO_DYNPTR: Final = 22

# ---- flags: the bits above

PTR_MAYBE_NULL: Final = 1 << 8
MEM_RDONLY: Final = 1 << 9
MEM_RINGBUF: Final = 1 << 10
MEM_USER: Final = 1 << 11
MEM_PERCPU: Final = 1 << 12
OBJ_RELEASE: Final = 1 << 13
PTR_UNTRUSTED: Final = 1 << 14
MEM_UNINIT: Final = 1 << 15
DYNPTR_TYPE_LOCAL: Final = 1 << 16
DYNPTR_TYPE_RINGBUF: Final = 1 << 17
MEM_FIXED_SIZE: Final = 1 << 18
MEM_ALLOC: Final = 1 << 19
PTR_TRUSTED: Final = 1 << 20
MEM_RCU: Final = 1 << 21
NON_OWN_REF: Final = 1 << 22
DYNPTR_TYPE_SKB: Final = 1 << 23
DYNPTR_TYPE_XDP: Final = 1 << 24
MEM_ALIGNED: Final = 1 << 25
MEM_WRITE: Final = 1 << 26
DYNPTR_TYPE_SKB_META: Final = 1 << 27
DYNPTR_TYPE_FILE: Final = 1 << 28

BASE_TYPE_MASK: Final = 0xFF
DYNPTR_TYPE_FLAG_MASK: Final = (
    DYNPTR_TYPE_LOCAL
    | DYNPTR_TYPE_RINGBUF
    | DYNPTR_TYPE_SKB
    | DYNPTR_TYPE_XDP
    | DYNPTR_TYPE_SKB_META
    | DYNPTR_TYPE_FILE
)

# ---- Reg.id of scalars that follow another by a constant distance (Reg.delta)

BPF_ADD_CONST64: Final = 1 << 31
BPF_ADD_CONST32: Final = 1 << 30
BPF_ADD_CONST: Final = BPF_ADD_CONST64 | BPF_ADD_CONST32

# ---- Reg.aux of packet pointers compared with the packet's end (pkt_range)

AT_PKT_END: Final = -1
BEYOND_PKT_END: Final = -2

# ---- enum bpf_dynptr_type, enum bpf_iter_state

BPF_DYNPTR_TYPE_INVALID: Final = 0
BPF_DYNPTR_TYPE_LOCAL: Final = 1
BPF_DYNPTR_TYPE_RINGBUF: Final = 2
BPF_DYNPTR_TYPE_SKB: Final = 3
BPF_DYNPTR_TYPE_XDP: Final = 4
BPF_DYNPTR_TYPE_SKB_META: Final = 5
BPF_DYNPTR_TYPE_FILE: Final = 6

BPF_ITER_STATE_INVALID: Final = 0
BPF_ITER_STATE_ACTIVE: Final = 1
BPF_ITER_STATE_DRAINED: Final = 2


def base_type(reg_type: int) -> int:
    """Type without flags."""
    return reg_type & BASE_TYPE_MASK


def type_flag(reg_type: int) -> int:
    """Flags without type."""
    return reg_type & ~BASE_TYPE_MASK


def type_may_be_null(reg_type: int) -> bool:
    """Whether the pointer may be null until it is compared."""
    return bool(reg_type & PTR_MAYBE_NULL)


class UsedMap:
    """A map of the program, compared by identity (struct bpf_map *).

    index: place in Program.maps. spec: its declaration. fields: special fields of the value by BTF, filled and read
    by verifier/maps.py only. inner: what the elements of a map of maps look like, None for other maps.
    """

    __slots__ = ("fields", "index", "inner", "spec")

    def __init__(self, index: int, spec: MapSpec) -> None:
        self.index = index
        self.spec = spec
        self.fields: Any = None
        self.inner: UsedMap | None = UsedMap(-1, spec.inner) if spec.inner is not None else None


class Reg:
    """One register's state (struct bpf_reg_state). Never changed after it is made: use `with_` and its fast forms.

    type: base type | flags.
    num: of a scalar, its value; of a pointer, its whole offset from the object, constant part included (7.3 has no
      separate `off`: fp-8 has num == const(-8)).
    id: 0 for none. Scalars with equal id are equal (linked), or apart by `delta` when BPF_ADD_CONST is set; pointers
      with equal id come from the same source and become non-null or get a packet range together; the id of a
      reference where the pointer is one.
    parent_id: id of the referenced object that this one lives in (a dynptr's for its slices), 0 for none.
    delta: only of scalars with BPF_ADD_CONST in id: distance from the scalar with the plain id.
    precise: the scalar's value mattered for safety, so pruning must compare it.
    frameno: PTR_TO_STACK only: number of the frame it points into.
    aux: what the kernel keeps in a union, 0 when unused; read through the properties:
      PTR_TO_PACKET, _META: pkt_range (int); map types: (UsedMap, map_uid); PTR_TO_BTF_ID: (btf, btf_id);
      PTR_TO_MEM: mem_size (int); PTR_TO_FUNC: subprogno (int); dynptrs (slots and CONST_PTR_TO_DYNPTR):
      (dynptr_type, first_slot); iterator slots: (btf, btf_id, iter_state, iter_depth); irq slots: kfunc class (int).
      Values of equal meaning are ==.
    """

    __slots__ = ("aux", "delta", "frameno", "id", "num", "parent_id", "precise", "type")

    def __init__(
        self,
        type: int,  # noqa: A002 # the kernel's name
        num: Num = ZERO,
        id: int = 0,  # noqa: A002 # the kernel's name
        parent_id: int = 0,
        delta: int = 0,
        precise: bool = False,
        frameno: int = 0,
        aux: Any = 0,
    ) -> None:
        self.type = type
        self.num = num
        self.id = id
        self.parent_id = parent_id
        self.delta = delta
        self.precise = precise
        self.frameno = frameno
        self.aux = aux

    def with_(self, **changes: Any) -> "Reg":
        """A copy with some fields changed: reg.with_(type=PTR_TO_MEM, aux=8)."""
        new = Reg(
            self.type, self.num, self.id, self.parent_id, self.delta, self.precise, self.frameno, self.aux
        )
        for name, value in changes.items():
            setattr(new, name, value)
        return new

    def with_num(self, num: Num) -> "Reg":
        """A copy with other numbers; itself when they are the same object."""
        if num is self.num:
            return self
        return Reg(self.type, num, self.id, self.parent_id, self.delta, self.precise, self.frameno, self.aux)

    def with_id(self, id: int, delta: int = 0) -> "Reg":  # noqa: A002 # the kernel's name
        """A copy with another id; delta goes with it."""
        if id == self.id and delta == self.delta:
            return self
        return Reg(self.type, self.num, id, self.parent_id, delta, self.precise, self.frameno, self.aux)

    def with_type(self, type: int) -> "Reg":  # noqa: A002 # the kernel's name
        """A copy of another type."""
        if type == self.type:
            return self
        return Reg(type, self.num, self.id, self.parent_id, self.delta, self.precise, self.frameno, self.aux)

    def with_precise(self, precise: bool) -> "Reg":
        """A copy that is precise, or not."""
        if precise == self.precise:
            return self
        return Reg(self.type, self.num, self.id, self.parent_id, self.delta, precise, self.frameno, self.aux)

    def with_aux(self, aux: Any) -> "Reg":
        """A copy with another union."""
        return Reg(self.type, self.num, self.id, self.parent_id, self.delta, self.precise, self.frameno, aux)

    # ---- questions

    @property
    def base(self) -> int:
        """Type without flags."""
        return self.type & BASE_TYPE_MASK

    @property
    def flags(self) -> int:
        """Flags of the type."""
        return self.type & ~BASE_TYPE_MASK

    @property
    def is_scalar(self) -> bool:
        """A number."""
        return self.type == SCALAR_VALUE

    @property
    def is_const(self) -> bool:
        """A number, or the offset of a pointer, of which every bit is known."""
        return self.num.mask == 0

    @property
    def is_null(self) -> bool:
        """The number 0 (bpf_register_is_null)."""
        return self.type == SCALAR_VALUE and self.num.mask == 0 and self.num.value == 0

    # ---- the union

    @property
    def pkt_range(self) -> int:
        """Packet pointers: bytes from the object's start that may be accessed; AT_PKT_END, BEYOND_PKT_END."""
        return self.aux  # type: ignore[no-any-return] # a union

    @property
    def map(self) -> UsedMap:
        """CONST_PTR_TO_MAP, PTR_TO_MAP_VALUE, PTR_TO_MAP_KEY: the map."""
        return self.aux[0]  # type: ignore[no-any-return] # a union

    @property
    def map_uid(self) -> int:
        """Map types: not 0 for maps found in a map of maps, to tell them apart."""
        return self.aux[1]  # type: ignore[no-any-return] # a union

    @property
    def btf(self) -> "Btf | None":
        """PTR_TO_BTF_ID, iterators: the program's BTF, or None for the kernel's types."""
        return self.aux[0]  # type: ignore[no-any-return] # a union

    @property
    def btf_id(self) -> int | str:
        """PTR_TO_BTF_ID, iterators: type id in the program's BTF, or the name of a kernel struct ("sock")."""
        return self.aux[1]  # type: ignore[no-any-return] # a union

    @property
    def mem_size(self) -> int:
        """PTR_TO_MEM: bytes."""
        return self.aux  # type: ignore[no-any-return] # a union

    @property
    def subprogno(self) -> int:
        """PTR_TO_FUNC: the function."""
        return self.aux  # type: ignore[no-any-return] # a union

    @property
    def dynptr_type(self) -> int:
        """Dynptrs: BPF_DYNPTR_TYPE_*."""
        return self.aux[0]  # type: ignore[no-any-return] # a union

    @property
    def first_slot(self) -> bool:
        """Dynptrs: the first (higher) of the two stack slots; also of CONST_PTR_TO_DYNPTR."""
        return self.aux[1]  # type: ignore[no-any-return] # a union

    @property
    def iter_state(self) -> int:
        """Iterator slots: BPF_ITER_STATE_*."""
        return self.aux[2]  # type: ignore[no-any-return] # a union

    @property
    def iter_depth(self) -> int:
        """Iterator slots: how often it went round."""
        return self.aux[3]  # type: ignore[no-any-return] # a union

    @property
    def irq_class(self) -> int:
        """Irq flag slots: IRQ_NATIVE_KFUNC or IRQ_LOCK_KFUNC."""
        return self.aux  # type: ignore[no-any-return] # a union


# The two most common values exist once.
NOT_INIT_REG: Final = Reg(NOT_INIT, UNKNOWN)
UNKNOWN_REG: Final = Reg(SCALAR_VALUE, UNKNOWN)


_CACHE_LIMIT: Final = 1 << 16
_const_regs: dict[int, Reg] = {}


def const_reg(value: int) -> Reg:
    """The number `value` (any Python int; taken modulo 2**64), imprecise (mark_reg_known)."""
    reg = _const_regs.get(value)
    if reg is None:
        if len(_const_regs) >= _CACHE_LIMIT:
            _const_regs.clear()
        reg = _const_regs[value] = Reg(SCALAR_VALUE, const(value))
    return reg


def scalar_reg(num: Num) -> Reg:
    """A number, unlinked and imprecise."""
    return Reg(SCALAR_VALUE, num)


def pointer_reg(reg_type: int, offset: int = 0, *, id: int = 0, frameno: int = 0, aux: Any = 0) -> Reg:  # noqa: A002
    """A pointer at a constant offset (mark_reg_known_zero)."""
    return Reg(reg_type, const(offset) if offset else ZERO, id, 0, 0, False, frameno, aux)
