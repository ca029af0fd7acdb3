"""Helpers that the kernel replaces by instructions, or by a call of what stands behind them.

Sources: array_map_gen_lookup of kernel/bpf/arraymap.c, htab_map_gen_lookup and htab_lru_map_gen_lookup of
kernel/bpf/hashtab.c, inline_bpf_loop and bpf_do_misc_fixups of kernel/bpf/fixups.c. The offsets are those of a 7.3
kernel on x86-64; emu/runtime lays its maps out alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bpf import isa
from bpf.insn import Insn
from bpf.maps import MapSpec, MapType

MAP_LOOKUP, MAP_UPDATE, MAP_DELETE = 1, 2, 3
GET_SMP_PROCESSOR_ID = 8
REDIRECT_MAP = 51
MAP_PUSH, MAP_POP, MAP_PEEK = 87, 88, 89
GET_CURRENT_TASK = 35
JIFFIES64 = 118
GET_CURRENT_TASK_BTF = 158
FOR_EACH_MAP_ELEM = 164
LOOP = 181
GET_FUNC_IP, GET_FUNC_ARG, GET_FUNC_RET, GET_FUNC_ARG_CNT = 173, 183, 184, 185
KPTR_XCHG = 194
MAP_LOOKUP_PERCPU = 195
_ARRAY_VALUES = 296  # offsetof(struct bpf_array, value)
_ELEM_KEY = 48  # offsetof(struct htab_elem, key)
_ELEM_LRU_REF = 35  # offsetof(struct htab_elem, lru_node) + offsetof(struct bpf_lru_node, ref)
_MAX_LOOPS = 8 << 20
_E2BIG = 7
_EINVAL = 22
_EINVAL = 22
_EOPNOTSUPP = 95
_LOOP_SPILLS = 24  # r6, r7, r8

_MOV = isa.ALU64 | isa.MOV
_MOV_X = _MOV | isa.X
_MOV32 = isa.ALU | isa.MOV
_ADD = isa.ALU64 | isa.ADD
_LOAD64 = isa.LDX | isa.MEM | isa.DW
_STORE64 = isa.STX | isa.MEM | isa.DW
_THIS_CPU = Insn(_MOV_X, 0, 0, isa.OFF_PERCPU)
# Helpers that only read a variable of this CPU.
_PERCPU_VARIABLES = {
    GET_SMP_PROCESSOR_ID: ("cpu_number", isa.LDX | isa.MEM | isa.W),
    GET_CURRENT_TASK: ("current_task", _LOAD64),
    GET_CURRENT_TASK_BTF: ("current_task", _LOAD64),
}
_LOAD32 = isa.LDX | isa.MEM | isa.W
_STORE32 = isa.STX | isa.MEM | isa.W
_ZERO64 = Insn(isa.ST | isa.MEM | isa.DW, 1)
# A struct bpf_iter_num is the current number and the end, two ints.
_NUM_NEW = (
    Insn(isa.JMP32 | isa.JSGT | isa.X, 2, 3, 8),
    Insn(_MOV32 | isa.X, 0, 3),
    Insn(isa.ALU | isa.SUB | isa.X, 0, 2),
    Insn(isa.JMP | isa.JGT, 0, off=8, imm=_MAX_LOOPS),
    Insn(isa.ALU | isa.ADD, 2, imm=-1),
    Insn(_STORE32, 1, 2),
    Insn(_STORE32, 1, 3, 4),
    Insn(_MOV, 0),
    Insn(isa.OP_JA, off=5),
    _ZERO64,  # an empty range the wrong way round
    Insn(_MOV, 0, imm=-_EINVAL),
    Insn(isa.OP_JA, off=2),
    _ZERO64,  # too many numbers
    Insn(_MOV, 0, imm=-_E2BIG),
)
_NUM_NEXT = (
    Insn(_LOAD32, 0, 1),
    Insn(isa.ALU | isa.ADD, 0, imm=1),
    Insn(_LOAD32, 2, 1, 4),
    Insn(isa.JMP32 | isa.JSGE | isa.X, 0, 2, 3),
    Insn(_STORE32, 1, 0),
    Insn(_MOV_X, 0, 1),
    Insn(isa.OP_JA, off=2),
    _ZERO64,
    Insn(_MOV, 0),
)
_CAST = (Insn(_MOV_X, 0, 1),)
# Kfuncs that become instructions.
KFUNCS: Mapping[str, Sequence[Insn]] = {
    "bpf_cast_to_kern_ctx": _CAST,
    "bpf_rdonly_cast": _CAST,
    "bpf_iter_num_new": _NUM_NEW,
    "bpf_iter_num_next": _NUM_NEXT,
    "bpf_iter_num_destroy": (Insn(isa.OP_JA),),
}


_KPTR_SWAP = (Insn(_MOV_X, 0, 2), Insn(isa.STX | isa.ATOMIC | isa.DW, 1, 0, 0, isa.XCHG))
_ARG_COUNT = (Insn(_LOAD64, 0, 1, -8), Insn(isa.ALU64 | isa.AND, 0, imm=0xFF))
_ARGUMENT = (
    Insn(isa.JMP32 | isa.JGE | isa.X, 2, 0, 6),
    Insn(isa.ALU64 | isa.LSH, 2, imm=3),
    Insn(_ADD | isa.X, 2, 1),
    Insn(_LOAD64, 0, 2),
    Insn(_STORE64, 3, 0),
    Insn(_MOV, 0),
    Insn(isa.OP_JA, off=1),
    Insn(_MOV, 0, imm=-_EINVAL),
)
_RETURNED = (
    *_ARG_COUNT,
    Insn(isa.ALU64 | isa.LSH, 0, imm=3),
    Insn(_ADD | isa.X, 0, 1),
    Insn(_LOAD64, 3, 0),
    Insn(_STORE64, 2, 3),
    Insn(_MOV, 0),
)
# Programs that run when the function has returned.
_AFTER = frozenset({"trace_fexit", "trace_fsession", "modify_return"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One instruction of a replacement. symbol: what is called or loaded there. callback: it calls the loop's function."""

    insn: Insn
    symbol: str = ""
    callback: bool = False


def replacement(helper: int, spec: MapSpec | None, attach: str = "") -> Sequence[Piece] | None:
    """What stands for a call of `helper`; spec: the map that it always has. None: the call stays.

    attach: how a program of type tracing is attached ("trace_fexit"), "" for all other types.
    """
    inlined = _KPTR_SWAP if helper == KPTR_XCHG else _of_traced(helper, attach) if attach else None
    if inlined is not None:
        return tuple(map(Piece, inlined))
    if helper == JIFFIES64:
        return (
            Piece(Insn(isa.LD_IMM64, 0), "jiffies"),
            Piece(Insn(0)),
            Piece(Insn(_LOAD64, 0, 0)),
        )
    variable = _PERCPU_VARIABLES.get(helper)
    if variable is not None:
        name, load = variable
        return (Piece(Insn(_MOV, 0), name), Piece(_THIS_CPU), Piece(Insn(load, 0, 0)))
    if spec is None:
        return None
    lookup = _LOOKUPS.get(spec.type) if helper == MAP_LOOKUP else None
    if lookup is not None:
        return lookup(spec)
    symbol = _OPERATIONS.get((helper, spec.type))
    return None if symbol is None else (Piece(Insn(isa.OP_CALL), symbol),)


def _of_traced(helper: int, attach: str) -> Sequence[Insn] | None:
    """What a tracing program asks of the function that it is attached to: it stands in front of the context."""
    if helper == GET_FUNC_IP:
        return (Insn(_LOAD64, 0, 1, -16),)
    if helper == GET_FUNC_RET:
        return _RETURNED if attach in _AFTER else (Insn(_MOV, 0, imm=-_EOPNOTSUPP),)
    if attach == "trace_raw_tp":
        return None  # the number of arguments is that of the tracepoint's prototype
    if helper == GET_FUNC_ARG_CNT:
        return _ARG_COUNT
    return (*_ARG_COUNT, *_ARGUMENT) if helper == GET_FUNC_ARG else None


def _array_lookup(spec: MapSpec) -> Sequence[Piece]:
    """Index check, then address of the value; the mask against speculation is not there for the privileged."""
    size = _rounded(spec.value_size)
    if size & (size - 1):
        scale = Insn(isa.ALU64 | isa.MUL, 0, imm=size)
    else:
        scale = Insn(isa.ALU64 | isa.LSH, 0, imm=size.bit_length() - 1)
    return _indexed(spec, scale, ())


def _percpu_array_lookup(spec: MapSpec) -> Sequence[Piece]:
    """The array holds one per-CPU pointer an element."""
    return _indexed(spec, Insn(isa.ALU64 | isa.LSH, 0, imm=3), (Insn(_LOAD64, 0, 0), _THIS_CPU))


def _indexed(spec: MapSpec, scale: Insn, behind: Sequence[Insn]) -> Sequence[Piece]:
    insns = (
        Insn(_ADD, 1, imm=_ARRAY_VALUES),
        Insn(isa.LDX | isa.MEM | isa.W, 0, 2),
        Insn(isa.JMP | isa.JGE, 0, off=3 + len(behind), imm=isa.sext(spec.max_entries, 32)),
        scale,
        Insn(_ADD | isa.X, 0, 1),
        *behind,
        Insn(isa.OP_JA, off=1),
        Insn(_MOV, 0),
    )
    return tuple(Piece(insn) for insn in insns)


def _rounded(size: int) -> int:
    return -(-size // 8) * 8


def _hash_lookup(spec: MapSpec) -> Sequence[Piece]:
    return (
        Piece(Insn(isa.OP_CALL), "__htab_map_lookup_elem"),
        Piece(Insn(isa.JMP | isa.JEQ, 0, off=1)),
        Piece(Insn(_ADD, 0, imm=_ELEM_KEY + _rounded(spec.key_size))),
    )


def _lru_lookup(spec: MapSpec) -> Sequence[Piece]:
    """As for a hash, and the element is marked as referenced."""
    return (
        Piece(Insn(isa.OP_CALL), "__htab_map_lookup_elem"),
        Piece(Insn(isa.JMP | isa.JEQ, 0, off=4)),
        Piece(Insn(isa.LDX | isa.MEM | isa.B, 1, 0, _ELEM_LRU_REF)),
        Piece(Insn(isa.JMP | isa.JNE, 1, off=1)),
        Piece(Insn(isa.ST | isa.MEM | isa.B, 0, off=_ELEM_LRU_REF, imm=1)),
        Piece(Insn(_ADD, 0, imm=_ELEM_KEY + _rounded(spec.key_size))),
    )


def _percpu_hash_lookup(spec: MapSpec) -> Sequence[Piece]:
    """The element holds a per-CPU pointer behind its key."""
    return (
        Piece(Insn(isa.OP_CALL), "__htab_map_lookup_elem"),
        Piece(Insn(isa.JMP | isa.JEQ, 0, off=3)),
        Piece(Insn(_ADD, 0, imm=_ELEM_KEY + _rounded(spec.key_size))),
        Piece(Insn(_LOAD64, 0, 0)),
        Piece(_THIS_CPU),
    )


_LOOKUPS: dict[int, Callable[[MapSpec], Sequence[Piece]]] = {
    MapType.ARRAY: _array_lookup,
    MapType.PERCPU_ARRAY: _percpu_array_lookup,
    MapType.HASH: _hash_lookup,
    MapType.PERCPU_HASH: _percpu_hash_lookup,
    MapType.LRU_HASH: _lru_lookup,
}

# What the operations of a map type are called; a helper that is not here goes through the helper itself.
_OPERATIONS: dict[tuple[int, int], str] = {
    (MAP_UPDATE, MapType.HASH): "htab_map_update_elem",
    (MAP_UPDATE, MapType.PERCPU_HASH): "htab_percpu_map_update_elem",
    (MAP_UPDATE, MapType.LRU_HASH): "htab_lru_map_update_elem",
    (MAP_UPDATE, MapType.LRU_PERCPU_HASH): "htab_lru_percpu_map_update_elem",
    (MAP_UPDATE, MapType.ARRAY): "array_map_update_elem",
    (MAP_UPDATE, MapType.PERCPU_ARRAY): "array_map_update_elem",
    (MAP_UPDATE, MapType.LPM_TRIE): "trie_update_elem",
    (MAP_DELETE, MapType.HASH): "htab_map_delete_elem",
    (MAP_DELETE, MapType.PERCPU_HASH): "htab_map_delete_elem",
    (MAP_DELETE, MapType.LRU_HASH): "htab_lru_map_delete_elem",
    (MAP_DELETE, MapType.LRU_PERCPU_HASH): "htab_lru_map_delete_elem",
    (MAP_DELETE, MapType.ARRAY): "array_map_delete_elem",
    (MAP_DELETE, MapType.PERCPU_ARRAY): "array_map_delete_elem",
    (MAP_DELETE, MapType.LPM_TRIE): "trie_delete_elem",
    (MAP_LOOKUP, MapType.LRU_PERCPU_HASH): "htab_lru_percpu_map_lookup_elem",
    (MAP_LOOKUP, MapType.LPM_TRIE): "trie_lookup_elem",
    (MAP_LOOKUP, MapType.DEVMAP): "dev_map_lookup_elem",
    (MAP_LOOKUP, MapType.DEVMAP_HASH): "dev_map_hash_lookup_elem",
    (MAP_LOOKUP_PERCPU, MapType.PERCPU_HASH): "htab_percpu_map_lookup_percpu_elem",
    (MAP_LOOKUP_PERCPU, MapType.LRU_PERCPU_HASH): "htab_lru_percpu_map_lookup_percpu_elem",
    (MAP_LOOKUP_PERCPU, MapType.PERCPU_ARRAY): "percpu_array_map_lookup_percpu_elem",
    (MAP_PUSH, MapType.QUEUE): "queue_stack_map_push_elem",
    (MAP_PUSH, MapType.STACK): "queue_stack_map_push_elem",
    (MAP_PUSH, MapType.BLOOM_FILTER): "bloom_map_push_elem",
    (MAP_POP, MapType.QUEUE): "queue_map_pop_elem",
    (MAP_POP, MapType.STACK): "stack_map_pop_elem",
    (MAP_PEEK, MapType.QUEUE): "queue_map_peek_elem",
    (MAP_PEEK, MapType.STACK): "stack_map_peek_elem",
    (MAP_PEEK, MapType.BLOOM_FILTER): "bloom_map_peek_elem",
    (REDIRECT_MAP, MapType.DEVMAP): "dev_map_redirect",
    (REDIRECT_MAP, MapType.DEVMAP_HASH): "dev_hash_map_redirect",
    (REDIRECT_MAP, MapType.CPUMAP): "cpu_map_redirect",
    (FOR_EACH_MAP_ELEM, MapType.ARRAY): "bpf_for_each_array_elem",
    (FOR_EACH_MAP_ELEM, MapType.PERCPU_ARRAY): "bpf_for_each_array_elem",
    (FOR_EACH_MAP_ELEM, MapType.HASH): "bpf_for_each_hash_elem",
    (FOR_EACH_MAP_ELEM, MapType.PERCPU_HASH): "bpf_for_each_hash_elem",
    (FOR_EACH_MAP_ELEM, MapType.LRU_HASH): "bpf_for_each_hash_elem",
    (FOR_EACH_MAP_ELEM, MapType.LRU_PERCPU_HASH): "bpf_for_each_hash_elem",
}


def loop_extra(depth: int) -> int:
    """Bytes of stack that inlined loops add to a function that uses `depth`."""
    return _LOOP_SPILLS + -depth % 8


def loop(depth: int) -> Sequence[Piece]:
    """bpf_loop as instructions; depth: bytes of stack with `loop_extra`. The call of the callback is aimed later."""
    r6, r7, r8 = -depth, -depth + 8, -depth + 16
    before = (
        Insn(isa.JMP | isa.JLE, 1, off=2, imm=_MAX_LOOPS),
        Insn(_MOV32, 0, imm=-_E2BIG),
        Insn(isa.OP_JA, off=16),
        Insn(_STORE64, isa.FP, 6, r6),
        Insn(_STORE64, isa.FP, 7, r7),
        Insn(_STORE64, isa.FP, 8, r8),
        Insn(_MOV_X, 6, 1),
        Insn(_MOV32, 7),
        Insn(_MOV_X, 8, 3),
        Insn(isa.JMP | isa.JGE | isa.X, 7, 6, 5),
        Insn(_MOV_X, 1, 7),
        Insn(_MOV_X, 2, 8),
    )
    after = (
        Insn(_ADD, 7, imm=1),
        Insn(isa.JMP | isa.JEQ, 0, off=-6),
        Insn(_MOV_X, 0, 7),
        Insn(_LOAD64, 6, isa.FP, r6),
        Insn(_LOAD64, 7, isa.FP, r7),
        Insn(_LOAD64, 8, isa.FP, r8),
    )
    call = Piece(Insn(isa.OP_CALL, 0, isa.PSEUDO_CALL), callback=True)
    return (*map(Piece, before), call, *map(Piece, after))
