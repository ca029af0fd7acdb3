"""The first look at every single instruction, dead or not, and at what its ld_imm64 refers to.

Source: check_and_resolve_insns of kernel/bpf/verifier.c. The shapes of instructions are the codec's to judge; here
are the map and BTF references, in the same walk, since the first complaint in program order is the one that is made.
"""

from bpf import codec, isa
from bpf.insn import Insn
from bpf.kernelvars import KERNEL_VARS
from bpf.maps import MapSpec, MapType
from bpf.program import Program
from verifier.maps import UsedMaps
from verifier.refused import Refused

# Map types whose values have one address, so that an ld_imm64 may point into them.
_ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
_DIRECT_VALUE = frozenset({*_ARRAYS, MapType.ARENA, MapType.INSN_ARRAY})
_PAGE = 4096
_ENTRY = 8  # bytes of an address in a jump table

# Instructions of one slot in which there is nothing to refuse: most programs are made of the same ones.
_sound: dict[Insn, bool] = {}
_SOUND_MAX = 1 << 14


def check_insns(program: Program) -> None:
    """Registers, opcodes, reserved fields and references of all instructions, in order."""
    insns = program.insns
    used = UsedMaps(program)
    at = 0
    while at < len(insns):
        insn = insns[at]
        if insn not in _sound:
            problem = codec.structural_error(insns, at)
            if problem is not None:
                raise Refused("EINVAL", problem, insn=at)
            if insn.code == isa.LD_IMM64:
                _check_reference(program, at, insn, insns[at + 1], used)
                at += 1
            elif len(_sound) < _SOUND_MAX:
                _sound[insn] = True
        at += 1


def _check_reference(program: Program, at: int, insn: Insn, high: Insn, used: UsedMaps) -> None:
    match insn.src:
        case 0 | isa.PSEUDO_FUNC:
            return
        case isa.PSEUDO_BTF_ID if high.imm:
            raise Refused("EINVAL", "invalid module BTF object FD specified.", insn=at)
        case isa.PSEUDO_BTF_ID if insn.imm in KERNEL_VARS:
            return
        case isa.PSEUDO_BTF_ID:
            message = f"pseudo btf_id {insn.imm} in ldimm64 isn't KIND_VAR or KIND_FUNC"
            raise Refused("EINVAL", message, insn=at)
        case isa.PSEUDO_MAP_FD if high.imm == 0:
            _map(program, at, insn.imm, used)
        case isa.PSEUDO_MAP_VALUE:
            _check_value(_map(program, at, insn.imm, used), at, high.imm & isa.U32)
        case isa.PSEUDO_MAP_IDX_VALUE:
            _check_value(_map_by_index(program, at, insn.imm), at, high.imm & isa.U32)
        case isa.PSEUDO_MAP_IDX if high.imm == 0:
            _map_by_index(program, at, insn.imm)
        case _:
            raise Refused("EINVAL", "unrecognized bpf_ld_imm64 insn", insn=at)


def _map_by_index(program: Program, at: int, index: int) -> MapSpec:
    """The map at an index of the load's fd_array, which holds the maps in order; without maps there is none."""
    if 0 <= index < len(program.maps):
        return program.maps[index]
    if program.maps:
        raise Refused("EINVAL", "fd 0 is not pointing to valid bpf_map", insn=at)
    raise Refused("EPROTO", "fd_idx without fd_array is invalid", insn=at)


def _map(program: Program, at: int, index: int, used: UsedMaps) -> MapSpec:
    if not 0 <= index < len(program.maps):
        errno = "EBADF" if index < 0 or index > 2 else "EINVAL"
        raise Refused(errno, f"fd {index} is not pointing to valid bpf_map", insn=at)
    used.add(index, at)
    return program.maps[index]


def _check_value(spec: MapSpec, at: int, off: int) -> None:
    if spec.type not in _DIRECT_VALUE:
        raise Refused("EINVAL", "no direct value access support for this map type", insn=at)
    message = f"invalid access to map value pointer, value_size={spec.value_size} off={off}"
    if spec.type == MapType.ARENA:
        if off >= spec.max_entries * _PAGE:
            raise Refused("ERANGE", message, insn=at)
        return
    if spec.type == MapType.INSN_ARRAY:
        if off % _ENTRY or off >= spec.max_entries * _ENTRY:
            raise Refused("EACCES", message, insn=at)
        return
    if spec.max_entries != 1 and spec.type in _ARRAYS:
        raise Refused("ENOTSUPP", message, insn=at)
    if off >= spec.value_size:
        raise Refused("EINVAL", message, insn=at)
