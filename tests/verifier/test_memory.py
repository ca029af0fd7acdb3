"""Loads and stores through every kind of pointer but the stack, with the kernel's messages."""

from dataclasses import replace

import pytest

from bpf.maps import MapSpec, MapType
from bpf.program import Program
from tests.verifier.kit import program
from tests.verifier.memkit import ARRAY, load, make_env, refusal, store
from verifier.maps import F_RDONLY_PROG, F_WRONLY_PROG
from verifier.num import UNKNOWN, const, from_srange, from_urange
from verifier.regs import (
    CONST_PTR_TO_MAP,
    MEM_RDONLY,
    NOT_INIT_REG,
    PTR_MAYBE_NULL,
    PTR_TO_ARENA,
    PTR_TO_BTF_ID,
    PTR_TO_BUF,
    PTR_TO_CTX,
    PTR_TO_FLOW_KEYS,
    PTR_TO_FUNC,
    PTR_TO_MAP_KEY,
    PTR_TO_MAP_VALUE,
    PTR_TO_MEM,
    PTR_TO_PACKET,
    PTR_TO_SOCKET,
    PTR_TO_TP_BUFFER,
    PTR_TRUSTED,
    PTR_UNTRUSTED,
    SCALAR_VALUE,
    UNKNOWN_REG,
    Reg,
    const_reg,
    pointer_reg,
)

NEGATIVE = "R1 min value is negative, either use unsigned index or do a if (index >=0) check."


def prog_of(prog_type: str, attach: int = 0, flags: int = 0, attach_to: str = "") -> Program:
    base = program("r0 = 0\nexit\n")
    return replace(
        base, prog_type=prog_type, expected_attach_type=attach, prog_flags=flags, attach_to=attach_to
    )


def test_map_value_bounds() -> None:
    env = make_env()
    reg = pointer_reg(PTR_TO_MAP_VALUE, 8, aux=(env.maps[0], 0))
    assert load(env, reg, 0, 8) is UNKNOWN_REG
    store(env, reg, -8, 8)
    outside = "invalid access to map value, value_size=16 off=12 size=8"
    assert refusal(env, reg, 4, 8) == (
        "EACCES",
        outside,
        "R1 min value is outside of the allowed memory range",
    )


def test_variable_offsets() -> None:
    env = make_env()
    aux = (env.maps[0], 0)
    load(env, Reg(PTR_TO_MAP_VALUE, from_urange(0, 8), aux=aux), 0, 8)
    too_far = Reg(PTR_TO_MAP_VALUE, from_urange(0, 12), aux=aux)
    assert refusal(env, too_far, 0, 8)[-1] == "R1 max value is outside of the allowed memory range"
    env = make_env()
    assert refusal(env, Reg(PTR_TO_MAP_VALUE, from_srange(-8, 7), aux=aux), 0, 1) == ("EACCES", NEGATIVE)
    env = make_env()
    message = "R1 unbounded memory access, make sure to bounds check any such access"
    assert refusal(env, Reg(PTR_TO_MAP_VALUE, from_urange(0, 1 << 32), aux=aux), 0, 1)[-1] == message


def test_an_offset_is_an_int() -> None:
    # 2**32 passes the first comparison, as it does in the kernel, and is too big for the next
    env = make_env()
    reg = pointer_reg(PTR_TO_MAP_VALUE, 1 << 32, aux=(env.maps[0], 0))
    assert "unbounded memory access" in refusal(env, reg, 0, 8)[-1]


@pytest.mark.parametrize(
    ("flags", "write", "word"), [(F_RDONLY_PROG, True, "write into"), (F_WRONLY_PROG, False, "read from")]
)
def test_map_flags(flags: int, write: bool, word: str) -> None:
    env = make_env(maps=(replace(ARRAY, flags=flags),))
    reg = pointer_reg(PTR_TO_MAP_VALUE, aux=(env.maps[0], 0))
    assert refusal(env, reg, 0, 8, write=write) == (
        "EACCES",
        f"{word} map forbidden, value_size=16 off=0 size=8",
    )
    (load if write else store)(env, reg, 0, 8)


def test_frozen_values_are_constants() -> None:
    spec = replace(
        ARRAY, flags=F_RDONLY_PROG, freeze=True, elems=((b"\0" * 4, b"\x01\x80\xff\xff\xff\xff\xff\xff"),)
    )
    env = make_env(maps=(spec,))
    reg = pointer_reg(PTR_TO_MAP_VALUE, aux=(env.maps[0], 0))
    assert load(env, reg, 0, 2).num is const(0x8001)
    assert load(env, reg, 0, 2, sign=True).num is const(0x8001 - 0x10000)
    assert load(env, reg, 8, 8).num is const(0)
    assert load(env, reg.with_num(from_urange(0, 1)), 0, 1).num.umax == 255
    env = make_env(maps=(replace(ARRAY, flags=F_RDONLY_PROG),))
    assert load(env, reg.with_aux((env.maps[0], 0)), 0, 8) is UNKNOWN_REG


def test_insn_array() -> None:
    env = make_env(maps=(MapSpec("t", MapType.INSN_ARRAY, 4, 16, 4),))
    reg = pointer_reg(PTR_TO_MAP_VALUE, 8, aux=(env.maps[0], 0))
    assert load(env, reg, 8, 8).num is const(16)
    assert refusal(env, reg, 0, 4) == ("EACCES", "Invalid read of 4 bytes from insn_array")
    assert (
        refusal(make_env(maps=(env.maps[0].spec,)), reg, 4, 8)[-1] == "misaligned value access off 8+4 size 8"
    )


def test_loads_are_extended() -> None:
    env = make_env()
    reg = pointer_reg(PTR_TO_MEM, aux=8)
    assert load(env, reg, 0, 1).num.umax == 255
    assert load(env, reg, 0, 4).num.umax == 0xFFFFFFFF
    signed = load(env, reg, 0, 2, sign=True).num
    assert (signed.smin, signed.smax) == (-(1 << 15), (1 << 15) - 1)
    assert load(env, reg, 0, 8).num is UNKNOWN


def test_mem() -> None:
    env = make_env()
    assert refusal(env, pointer_reg(PTR_TO_MEM | PTR_MAYBE_NULL, aux=8), 0, 8) == (
        "EACCES",
        "R1 invalid mem access 'mem_or_null'",
    )
    env = make_env()
    assert refusal(env, pointer_reg(PTR_TO_MEM, aux=8), 8, 1)[1:] == (
        "invalid access to memory, mem_size=8 off=8 size=1",
        "R1 min value is outside of the allowed memory range",
    )
    env = make_env()
    assert refusal(env, pointer_reg(PTR_TO_MEM | MEM_RDONLY, aux=8), 0, 8, write=True) == (
        "EACCES",
        "R1 cannot write into rdonly_mem",
    )
    # read by loads that may fault
    load(env, pointer_reg(PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED, aux=0), 4096, 8)


def test_packet() -> None:
    env = make_env()
    reg = pointer_reg(PTR_TO_PACKET, 14, id=1, aux=20)
    load(env, reg, 0, 4)
    store(env, reg, 5, 1)
    assert env.seen_direct_write
    assert refusal(env, reg, 4, 4)[1:] == (
        "invalid access to packet, off=18 size=4, R1(id=1,off=18,r=20)",
        "R1 min value is outside of the allowed memory range",
    )
    env = make_env()
    assert refusal(env, reg.with_aux(-1), 0, 1) == ("EINVAL", "R1 offset is outside of the packet")
    env = make_env(prog_of("cgroup_skb"))
    load(env, reg, 0, 4)
    assert refusal(env, reg, 0, 4, write=True) == ("EACCES", "cannot write into packet")


def test_ctx() -> None:
    env = make_env()
    ctx = pointer_reg(PTR_TO_CTX)
    assert load(env, ctx, 76, 4).type == PTR_TO_PACKET
    sock = load(env, ctx, 168, 8)
    assert sock.type & PTR_MAYBE_NULL
    assert sock.id == 1
    assert refusal(env, ctx, 1, 4) == ("EACCES", "invalid bpf_context access off=1 size=4")
    env = make_env()
    message = "dereference of modified ctx ptr R1 off=4 disallowed"
    assert refusal(env, pointer_reg(PTR_TO_CTX, 4), 0, 4) == ("EACCES", message)
    env = make_env()
    message = "variable ctx access var_off=(0x0; 0xffffffffffffffff) disallowed"
    assert refusal(env, Reg(PTR_TO_CTX, UNKNOWN), 0, 4) == ("EACCES", message)
    env = make_env()
    message = "negative offset ctx ptr R1 off=-4 disallowed"
    assert refusal(env, pointer_reg(PTR_TO_CTX, -4), 8, 4) == ("EACCES", message)


def test_plain_contexts() -> None:
    env = make_env(prog_of("syscall", flags=16))
    load(env, Reg(PTR_TO_CTX, from_urange(0, 100)), 1, 8)
    env = make_env(prog_of("raw_tracepoint"))
    load(env, pointer_reg(PTR_TO_CTX, 8), 8, 8)
    assert refusal(env, pointer_reg(PTR_TO_CTX, 8), 88, 8)[-1] == "invalid bpf_context access off=96 size=8"
    env = make_env(prog_of("netfilter", 45))
    assert load(env, pointer_reg(PTR_TO_CTX), 8, 8).btf_id == "sk_buff"


def test_context_of_functions() -> None:
    lsm = prog_of("lsm", 27, attach_to="bpf_lsm_file_open")
    env = make_env(lsm)
    ctx = pointer_reg(PTR_TO_CTX)
    file = load(env, ctx, 0, 8)
    assert file.type == PTR_TO_BTF_ID | PTR_TRUSTED
    inode = load(env, file, 32, 8)
    assert inode.btf_id == "inode"
    assert load(env, ctx, 8, 4).type == SCALAR_VALUE
    assert refusal(env, ctx, 16, 8) == (
        "EACCES",
        "func 'bpf_lsm_file_open' doesn't have 3-th argument",
        "invalid bpf_context access off=16 size=8",
    )
    env = make_env(prog_of("tracing", 28, attach_to="bpf_iter_bpf_map_elem"))
    key = load(env, ctx, 16, 8)
    assert key.type == PTR_TO_BUF | PTR_MAYBE_NULL | MEM_RDONLY


def test_sockets_and_other_objects() -> None:
    env = make_env()
    sock = pointer_reg(PTR_TO_SOCKET, id=3)
    load(env, sock, 4, 4)
    assert refusal(env, sock, 400, 4) == ("EACCES", "R1 invalid sock access off=400 size=4")
    env = make_env()
    assert refusal(env, sock, 4, 4, write=True) == ("EACCES", "R1 cannot write into sock")
    env = make_env()
    load(env, pointer_reg(PTR_TO_FLOW_KEYS), 48, 8)
    assert refusal(env, pointer_reg(PTR_TO_FLOW_KEYS), 52, 8) == (
        "EACCES",
        "invalid access to flow keys off=52 size=8",
    )
    load(env, pointer_reg(PTR_TO_TP_BUFFER), 4096, 8)
    load(env, pointer_reg(PTR_TO_ARENA), 4096, 8)
    key = pointer_reg(PTR_TO_MAP_KEY, aux=(env.maps[0], 0))
    load(env, key, 0, 4)
    env = make_env()
    assert refusal(env, key, 0, 4, write=True) == ("EACCES", "write to change key R1 not allowed")
    env = make_env()
    buf = pointer_reg(PTR_TO_BUF | MEM_RDONLY, 8)
    load(env, buf, 4096, 8)
    assert refusal(env, buf, -16, 8) == (
        "EACCES",
        "R1 invalid negative rdonly buffer offset: off=-16, var_off=8",
    )


@pytest.mark.parametrize(
    ("reg", "word"),
    [
        (const_reg(5), "scalar"),
        (pointer_reg(PTR_TO_FUNC), "func"),
        (pointer_reg(PTR_TO_SOCKET | PTR_MAYBE_NULL), "sock_or_null"),
    ],
)
def test_no_memory(reg: Reg, word: str) -> None:
    assert refusal(make_env(), reg, 0, 1) == ("EACCES", f"R1 invalid mem access '{word}'")


def test_alignment() -> None:
    env = make_env(prog_of("sched_cls", flags=1))
    reg = pointer_reg(PTR_TO_MAP_VALUE, 1, aux=(env.maps[0], 0))
    load(env, reg, 0, 1)
    assert refusal(env, reg, 0, 4) == ("EACCES", "misaligned value access off 1+0 size 4")
    env = make_env(prog_of("sched_cls", flags=1))
    packet = pointer_reg(PTR_TO_PACKET, aux=64)
    load(env, packet, 14, 4)
    assert refusal(env, packet, 12, 4)[-1] == "misaligned packet access off 2+0+12 size 4"
    env = make_env(prog_of("sched_cls", flags=1))
    var = Reg(PTR_TO_MAP_VALUE, from_urange(0, 7), aux=(env.maps[0], 0))
    assert refusal(env, var, 0, 2)[-1] == "misaligned value access off (0x0; 0x7)+0 size 2"


def test_map_pointers() -> None:
    env = make_env()
    ptr = pointer_reg(CONST_PTR_TO_MAP, aux=(env.maps[0], 0))
    ops = load(env, ptr, 32, 8)
    assert ops.btf_id == "bpf_map_ops"
    assert load(env, ptr, 56, 4).type == SCALAR_VALUE
    assert refusal(env, ptr, 0, 8, write=True) == ("EACCES", "only read from bpf_array is supported")
    env = make_env()
    assert refusal(env, ptr, -8, 8) == ("EACCES", "R1 is bpf_array invalid negative access: off=-8")
    env = make_env()
    message = "cannot access ptr member ops with moff 32 in struct bpf_map with off 33 size 4"
    assert refusal(env, ptr, 33, 4) == ("EACCES", message)


def test_uninitialised_operand_is_not_our_business() -> None:
    assert refusal(make_env(), NOT_INIT_REG, 0, 1) == ("EACCES", "R1 invalid mem access '?'")
