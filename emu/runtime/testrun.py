"""What BPF_PROG_TEST_RUN does around a program (net/bpf/test_run.c): checks and set-up before it, results after.

One function for each kind of program prepares a run; those with packets are in testrun_skb and testrun_xdp.
"""

import struct
from collections.abc import Callable
from functools import partial

from bpf.program import Program, RunInput
from emu.runtime.contexts import SK_LOOKUP, SK_LOOKUP_SIZE, Context
from emu.runtime.memory import Memory
from emu.runtime.testrun_base import Finish, Finished, Prepared, ctx_init, results, rounds_of
from emu.runtime.testrun_skb import prepare_flow_dissector, prepare_skb
from emu.runtime.testrun_xdp import prepare_xdp
from emu.runtime.traps import RunRefused

__all__ = ["PREPARE", "Finished", "Prepared", "prepare"]


def prepare_syscall(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_syscall: the context is the caller's buffer, and is copied back to it."""
    del program
    if run.data_in or run.data_out_size or run.repeat or run.flags:
        raise RunRefused("EINVAL", "a syscall program's run has only ctx_in")
    raw = run.ctx_in or b""
    if len(raw) > 0xFFFF:
        raise RunRefused("EINVAL", f"ctx_in has {len(raw)} bytes, at most 65535 are allowed")
    context = Context(memory, raw, "context")
    return Prepared(context, partial(_finish_syscall, context), 1, partial(_again_syscall, context))


def _finish_syscall(context: Context, r0: int) -> Finished:
    return Finished("OK", r0 & 0xFFFFFFFF, None, context.raw() or None)


def _again_syscall(context: Context, run: RunInput) -> Finish | None:
    if run.data_in or run.data_out_size or run.repeat or run.flags or not context.replace(run.ctx_in or b""):
        return None
    return partial(_finish_syscall, context)


def prepare_raw_tracepoint(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_raw_tp: up to 12 words of arguments, no results but the return value."""
    del program
    if run.data_in or run.data_out_size or run.ctx_out_size or run.repeat:
        raise RunRefused("EINVAL", "a raw tracepoint's run has only ctx_in")
    raw = run.ctx_in or b""
    if len(raw) > 12 * 8:
        raise RunRefused("EINVAL", f"ctx_in has {len(raw)} bytes, 12 words are 96")
    context = Context(memory, raw, "context")
    return Prepared(context, lambda r0: Finished("OK", r0 & 0xFFFFFFFF))


def prepare_sk_lookup(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """bpf_prog_test_run_sk_lookup: ctx_in is a struct bpf_sk_lookup without a socket."""
    del program
    if run.flags or run.data_in or run.data_out_size:
        raise RunRefused("EINVAL", "a socket lookup's run has only ctx_in")
    given = ctx_init(run, SK_LOOKUP_SIZE)
    if given is None:
        raise RunRefused("EINVAL", "ctx_in is missing")
    if any(given[:8]) or any(given[SK_LOOKUP["local_port"] + 4 :]):
        raise RunRefused("EINVAL", "ctx_in sets sk or ingress_ifindex")
    (local_port,) = struct.unpack_from("<I", given, SK_LOOKUP["local_port"])
    if local_port > 0xFFFF:
        raise RunRefused("ERANGE", f"local_port {local_port}")
    family, protocol = (value & 0xFFFF for value in struct.unpack_from("<II", given, SK_LOOKUP["family"]))
    if family not in (2, 10):
        raise RunRefused("EAFNOSUPPORT", f"family {family}")
    raw = bytearray(given)
    struct.pack_into("<II", raw, SK_LOOKUP["family"], family, protocol)
    raw[SK_LOOKUP["remote_port"] + 2 : SK_LOOKUP["local_ip4"]] = bytes(2)
    for name, size, of in (
        ("remote_ip4", 4, 2),
        ("local_ip4", 4, 2),
        ("remote_ip6", 16, 10),
        ("local_ip6", 16, 10),
    ):
        if family != of:
            raw[SK_LOOKUP[name] : SK_LOOKUP[name] + size] = bytes(size)
    context = Context(memory, bytes(raw), "struct bpf_sk_lookup")
    return Prepared(context, lambda r0: results(run, int(r0 & 0xFFFFFFFF != 0), b"", given), rounds_of(run))


PREPARE: dict[str, Callable[[Memory, Program, RunInput], Prepared]] = {
    **dict.fromkeys(
        ("socket_filter", "sched_cls", "sched_act", "cgroup_skb", "lwt_in", "lwt_out", "lwt_xmit"),
        prepare_skb,
    ),
    "xdp": prepare_xdp,
    "flow_dissector": prepare_flow_dissector,
    "sk_lookup": prepare_sk_lookup,
    "syscall": prepare_syscall,
    "raw_tracepoint": prepare_raw_tracepoint,
}


def prepare(memory: Memory, program: Program, run: RunInput) -> Prepared:
    """Set a run up. Raises RunRefused where BPF_PROG_TEST_RUN does; ENOTSUPP for types it cannot run."""
    function = PREPARE.get(program.prog_type)
    if function is None:
        raise RunRefused("ENOTSUPP", f"there are no test runs of {program.prog_type} programs")
    return function(memory, program, run)
