"""States as the kernel's log shows them: `R0=scalar(smin=...) R10=fp0 fp-8=mmmmmmmm refs=2`.

Source: kernel/bpf/log.c. Stack-argument slots are not shown (C.11) unless a line of our own is asked for.
"""

from typing import TYPE_CHECKING, Final

from bpf.btf import Btf
from verifier import regs
from verifier.num import Num
from verifier.regs import BPF_ADD_CONST, SCALAR_VALUE, Reg
from verifier.state import STACK_DYNPTR, STACK_ITER, STACK_SPILL, FuncState, Slot, VState

if TYPE_CHECKING:
    from verifier.env import Env

_TYPE_NAMES: Final = (
    "?", "scalar", "ctx", "map_ptr", "map_value", "map_key", "fp", "pkt_meta", "pkt", "pkt_end", "flow_keys",
    "sock", "sock_common", "tcp_sock", "tp_buffer", "xdp_sock", "ptr_", "mem", "arena", "buf", "func", "insn",
    "dynptr_ptr",
)  # fmt: skip
_PREFIXES: Final = (
    (regs.MEM_RDONLY, "rdonly_"),
    (regs.MEM_RINGBUF, "ringbuf_"),
    (regs.MEM_USER, "user_"),
    (regs.MEM_PERCPU, "percpu_"),
    (regs.MEM_RCU, "rcu_"),
    (regs.PTR_UNTRUSTED, "untrusted_"),
    (regs.PTR_TRUSTED, "trusted_"),
)
_SLOT_CHARS: Final = bytes.maketrans(bytes(range(8)), b"?rm0difp")
_DYNPTR_NAMES: Final = ("<invalid>", "local", "ringbuf", "skb", "xdp", "skb_meta", "file")
_ITER_STATES: Final = ("<invalid>", "active", "drained")
_ITER_PREFIX: Final = "bpf_iter_"
_MAPS: Final = (regs.CONST_PTR_TO_MAP, regs.PTR_TO_MAP_KEY, regs.PTR_TO_MAP_VALUE)
_U64: Final = (1 << 64) - 1
_S64_MIN, _S64_MAX = -(1 << 63), (1 << 63) - 1
_S32_MIN, _S32_MAX, _U32 = -(1 << 31), (1 << 31) - 1, (1 << 32) - 1
_ALIGNMENT: Final = 40
_MIN_ALIGNMENT: Final = 8


def reg_type_str(reg_type: int) -> str:
    """Name of a register type: "map_value_or_null"."""
    name = _TYPE_NAMES[reg_type & regs.BASE_TYPE_MASK]
    if reg_type >> 8:
        name = "".join(word for flag, word in _PREFIXES if reg_type & flag) + name
        if reg_type & regs.PTR_MAYBE_NULL:
            name += "or_null_" if reg_type & regs.BASE_TYPE_MASK == regs.PTR_TO_BTF_ID else "_or_null"
    return name


def dynptr_type_str(dynptr_type: int) -> str:
    """Name of a kind of dynptr: "ringbuf"."""
    return _DYNPTR_NAMES[dynptr_type]


def iter_type_str(btf: Btf | None, btf_id: int | str) -> str:
    """Name of a kind of iterator: "num"."""
    return btf_type_name(btf, btf_id).removeprefix(_ITER_PREFIX)


def iter_state_str(iter_state: int) -> str:
    """Name of an iterator's state: "active"."""
    return _ITER_STATES[iter_state]


def btf_type_name(btf: Btf | None, btf_id: int | str) -> str:
    """Name of a type, as registers hold it."""
    if isinstance(btf_id, str):
        return btf_id
    return btf.types[btf_id].name if btf is not None else ""


def unum_text(value: int) -> str:
    """An unsigned number: decimal if it is small (verbose_unum)."""
    value &= _U64
    return str(value) if value <= 0xFFFF else hex(value)


def snum_text(value: int) -> str:
    """A signed number, given modulo 2**64: decimal if it is small (verbose_snum)."""
    value &= _U64
    signed = value - (1 << 64) if value >> 63 else value
    return str(signed) if -0x8000 <= signed <= 0x7FFF else hex(value)


def tnum_text(value: int, mask: int) -> str:
    """Known bits: "(0x0; 0xff)", or the number (tnum_strn)."""
    if mask:
        return f"({_sharp_hex(value)}; {_sharp_hex(mask)})"
    return str(value) if value <= 0xFFFF else snum_text(value)


def _sharp_hex(value: int) -> str:
    """As C's %#llx, but for 0, which the kernel writes like any other."""
    return hex(value)


def _ranges_text(num: Num) -> list[str]:
    """The bounds that say something, equal ones joined: "smin=umin=5" (print_scalar_ranges)."""
    smin, smax, umin, umax = num.smin, num.smax, num.umin, num.umax
    s32_min, s32_max, u32_min, u32_max = num.s32_min, num.s32_max, num.u32_min, num.u32_max
    low = s32_min if -0x8000 <= s32_min <= 0x7FFF else s32_min & _U32
    high = s32_max if -0x8000 <= s32_max <= 0x7FFF else s32_max & _U32
    bounds: list[list[object]] = [
        ["smin", smin & _U64, smin == _S64_MIN],
        ["smax", smax & _U64, smax == _S64_MAX],
        ["umin", umin, umin == 0],
        ["umax", umax, umax == _U64],
        ["smin32", low & _U64, s32_min == _S32_MIN],
        ["smax32", high & _U64, s32_max == _S32_MAX],
        ["umin32", u32_min, u32_min == 0],
        ["umax32", u32_max, u32_max == _U32],
    ]
    parts = []
    for at, (name, value, omit) in enumerate(bounds):
        if omit:
            continue
        assert isinstance(name, str)
        assert isinstance(value, int)
        negative = name[0] == "s" and value >> 63
        text = f"{name}="
        for other in bounds[at + 2 :: 2]:
            if other[2] or other[1] != value:
                continue
            assert isinstance(other[0], str)
            if (other[0][0] == "s" and value >> 63) != negative:
                continue
            other[2] = True
            text += f"{other[0]}="
        parts.append(text + (snum_text(value) if name[0] == "s" else unum_text(value)))
    return parts


def reg_text(frameno: int, reg: Reg) -> str:
    """A register's state, as seen from a frame (print_reg_state)."""
    num = reg.num
    reg_type = reg.type
    if reg_type == SCALAR_VALUE:
        prefix = "P" if reg.precise else ""
        if num.mask == 0:
            return prefix + snum_text(num.value)
        return f"{prefix}scalar({','.join(_attributes(reg))})"
    text = reg_type_str(reg_type)
    if reg_type == regs.PTR_TO_ARENA:
        return text
    if reg_type == regs.PTR_TO_STACK:
        if reg.frameno != frameno:
            text += f"[{reg.frameno}]"
        if num.mask == 0:
            return text + snum_text(num.value)
    if reg.base == regs.PTR_TO_BTF_ID:
        text += btf_type_name(reg.btf, reg.btf_id)
    return f"{text}({','.join(_attributes(reg))})"


def _attributes(reg: Reg) -> list[str]:
    parts = []
    base = reg.type & regs.BASE_TYPE_MASK
    if reg.id:
        linked = f"{reg.delta:+d}" if reg.id & BPF_ADD_CONST else ""
        parts.append(f"id={reg.id & ~BPF_ADD_CONST}{linked}")
    if reg.parent_id:
        parts.append(f"parent_id={reg.parent_id}")
    if reg.type & regs.NON_OWN_REF:
        parts.append("non_own_ref")
    if base in _MAPS:
        spec = reg.map.spec
        if spec.name:
            parts.append(f"map={spec.name[:15]}")
        parts.append(f"ks={spec.key_size},vs={spec.value_size}")
    if base in (regs.PTR_TO_PACKET, regs.PTR_TO_PACKET_META):
        parts.append(f"r={unum_text(reg.pkt_range)}")
    if base == regs.PTR_TO_MEM:
        parts.append(f"sz={unum_text(reg.mem_size)}")
    if reg.type == regs.CONST_PTR_TO_DYNPTR:
        parts.append(f"type={dynptr_type_str(reg.dynptr_type)}")
    num = reg.num
    if num.mask == 0:
        if num.value:
            parts.append(f"imm={snum_text(num.value)}")
    else:
        parts += _ranges_text(num)
        if num.mask != _U64:
            parts.append(f"var_off={tnum_text(num.value, num.mask)}")
    return parts


def _slot_text(frame: FuncState, spi: int, slot: Slot) -> str:
    """A slot that holds something; "" for those shown with another (print_verifier_state)."""
    kind = slot.types[7]
    name = f" fp{-8 * (spi + 1)}"
    reg = slot.reg
    if kind == STACK_SPILL:
        above = slot.types.index(STACK_SPILL)
        chars = slot.types.translate(_SLOT_CHARS).decode()[:above]
        return f"{name}={chars}{reg_text(frame.frameno, reg)}"
    if kind == STACK_ITER:
        if not reg.id:
            return ""
        state = f"state={iter_state_str(reg.iter_state)},depth={reg.iter_depth}"
        return f"{name}=iter_{iter_type_str(reg.btf, reg.btf_id)}(id={reg.id},{state})"
    return f"{name}={slot.types.translate(_SLOT_CHARS).decode()}"


def _dynptr_text(spi: int, reg: Reg) -> str:
    parts = []
    if reg.id:
        parts.append(f"id={reg.id}")
    if reg.parent_id:
        parts.append(f"parent_id={reg.parent_id}")
    return f" fp{-8 * (spi + 1)}=dynptr_{dynptr_type_str(reg.dynptr_type)}({','.join(parts)})"


def state_text(state: VState, frameno: int, reg_mask: int = -1, slot_mask: int = -1) -> str:
    """A frame's registers and slots, with a blank in front and a line end; the masks say which are shown."""
    frame = state.frames[frameno]
    out = [f" frame{frame.frameno}:"] if frame.frameno else []
    for i, reg in enumerate(frame.regs):
        if reg.type and reg_mask >> i & 1:
            out.append(f" R{i}={reg_text(frame.frameno, reg)}")
    skip = -1
    for spi, slot in enumerate(frame.stack):
        if spi == skip or not slot_mask >> spi & 1 or not slot.types.strip(b"\0\7"):
            continue
        if slot.types[7] == STACK_DYNPTR:
            skip = spi + 1
            out.append(_dynptr_text(skip, frame.stack[skip].reg))
        else:
            out.append(_slot_text(frame, spi, slot))
    if state.refs and state.refs[0].id:
        out.append(f" refs={','.join(str(ref.id) for ref in state.refs if ref.id)}")
    if frame.in_callback_fn:
        out.append(" cb")
    if frame.in_async_callback_fn:
        out.append(" async_cb")
    return "".join(out) + "\n"


def print_verifier_state(env: "Env", state: VState, frameno: int, print_all: bool) -> None:
    """Writes a frame to the log: all of it, or what changed since the last time (print_verifier_state)."""
    if not env.verbose:
        return
    if print_all:
        env.trace(state_text(state, frameno))
    else:
        env.trace(state_text(state, frameno, env.scratched_regs, env.scratched_stack_slots))
        env.scratched_regs = env.scratched_stack_slots = 0
    if env.show_stack_args and print_all:
        trace_stack_args(env, state.frames[frameno], again=True)


def trace_stack_args(env: "Env", frame: FuncState, *, again: bool = False) -> None:
    """A line of our own for what a frame has stored for its next call, if it is not what the last one says."""
    text = stack_args_text(frame)
    if text and (again or text != env.shown_stack_args):
        env.trace(text)
    env.shown_stack_args = text


def stack_args_text(frame: FuncState) -> str:
    """A line of our own for what a frame has stored for its next call: `; stack args: *(R11-8)=6`; "" for nothing."""
    shown = [
        f" *(R11-{8 * (slot + 1)})={reg_text(frame.frameno, reg)}"
        for slot, reg in enumerate(frame.stack_args)
        if reg.type != regs.NOT_INIT
    ]
    return f"; stack args:{''.join(shown)}\n" if shown else ""


def vlog_alignment(pos: int) -> int:
    """Blanks after `pos` characters, line end included, before the state of an instruction."""
    wanted = max(pos + _MIN_ALIGNMENT // 2, _ALIGNMENT)
    return -(-wanted // _MIN_ALIGNMENT) * _MIN_ALIGNMENT - pos - 1


def print_insn_state(env: "Env", state: VState, frameno: int) -> None:
    """Writes what the last instruction changed: behind it, if nothing was written since (print_insn_state)."""
    if not env.verbose:
        return
    if env.prev_log_pos and env.prev_log_pos == len(env.log):
        line = env.log[-1]
        env.log[-1] = line[:-1] + " " * vlog_alignment(len(line)) + ";"
    else:
        env.trace(f"{env.insn_idx}:")
    print_verifier_state(env, state, frameno, False)
