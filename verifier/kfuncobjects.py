"""Arguments of kfuncs that are objects with a state: on the stack (dynptrs, iterators, irq flags), in lists and in trees.

Source: the cases of check_kfunc_args of kernel/bpf/verifier.c.
"""

from typing import Final

from verifier.callargs import (
    CallMeta,
)
from verifier.dynptr import dynptr_flag, process_dynptr_func
from verifier.env import Env
from verifier.graphs import (
    ALLOCATED,
    RBTREE_ADD,
    check_graph_node,
    check_graph_root,
)
from verifier.iters import check_iter, destroy_iter, new_iter
from verifier.kfuncprotos import KArg
from verifier.locks import (
    IRQ_LOCK_KFUNC,
    IRQ_NATIVE_KFUNC,
    in_rbtree_lock_required_cb,
    process_irq_flag,
)
from verifier.references import reg_is_referenced
from verifier.regs import (
    BPF_DYNPTR_TYPE_INVALID,
    DYNPTR_TYPE_FILE,
    DYNPTR_TYPE_SKB,
    DYNPTR_TYPE_SKB_META,
    DYNPTR_TYPE_XDP,
    MEM_UNINIT,
    NON_OWN_REF,
    OBJ_RELEASE,
    PTR_TO_STACK,
    Reg,
)
from verifier.sections import in_sleepable

_DYNPTR_FLAGS: Final = {
    "bpf_dynptr_from_skb": DYNPTR_TYPE_SKB,
    "bpf_dynptr_from_xdp": DYNPTR_TYPE_XDP,
    "bpf_dynptr_from_skb_meta": DYNPTR_TYPE_SKB_META,
    "bpf_dynptr_from_file": DYNPTR_TYPE_FILE,
    "bpf_dynptr_file_discard": DYNPTR_TYPE_FILE | OBJ_RELEASE,
}
_TRACE_ITER: Final = 28


class KCall:
    """A kfunc call at hand and the argument that is looked at. flags: of the kfunc."""

    __slots__ = ("arg", "argno", "flags", "func", "insn_idx", "meta", "name", "reg")

    def __init__(self, func: str, flags: frozenset[str], insn_idx: int, meta: CallMeta) -> None:
        self.func = func
        self.flags = flags
        self.insn_idx = insn_idx
        self.meta = meta
        self.arg: KArg
        self.argno = 0
        self.reg: Reg
        self.name = ""


def need_referenced(env: Env, reg: Reg) -> None:
    """The allocated object is the program's own."""
    if not reg_is_referenced(env, reg):
        env.refuse("EINVAL", "allocated object must be referenced")


# ---- objects on the stack


def dynptr_arg(env: Env, call: KCall) -> None:
    """A dynptr: to be made where the name ends in __uninit, else there already."""
    meta = call.meta
    flags = MEM_UNINIT if call.arg.name.endswith("__uninit") else 0
    flags |= _DYNPTR_FLAGS.get(call.func, 0)
    if call.func == "bpf_dynptr_clone" and flags & MEM_UNINIT:
        if meta.dynptr.type == BPF_DYNPTR_TYPE_INVALID:
            env.bug("no dynptr type for parent of clone")
        flags |= dynptr_flag(meta.dynptr.type)
    process_dynptr_func(env, call.reg, call.argno, call.insn_idx, flags, meta.ref_obj, meta.dynptr)


def iter_arg(env: Env, call: KCall) -> None:
    """An iterator: made, moved on or ended by its own kfuncs, only looked at by others."""
    reg, arg, meta = call.reg, call.arg, call.meta
    if call.func == "bpf_iter_css_task_new" and not _may_iterate_css_tasks(env):
        env.refuse("EINVAL", "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs")
    if reg.type != PTR_TO_STACK:
        env.refuse("EINVAL", f"{call.name} expected pointer to an iterator on stack")
    if not arg.struct.startswith("bpf_iter_") or not arg.size:
        env.refuse("EINVAL", f"expected valid iter pointer as {call.name}")
    if "iter_new" in call.flags:
        rcu = "rcu_protected" in call.flags
        new_iter(env, reg, call.argno, call.insn_idx, arg.struct, arg.size, rcu)
        return
    held = check_iter(env, reg, call.argno, arg.struct, arg.size, call.func, meta.iter)
    meta.ref_obj.update(held)
    if "iter_destroy" in call.flags:
        destroy_iter(env, meta.iter, arg.size)


def _may_iterate_css_tasks(env: Env) -> bool:
    if env.prog_type == "lsm":
        return True
    if env.prog_type == "tracing" and env.program.expected_attach_type == _TRACE_ITER:
        return True
    return in_sleepable(env)


def irq_flag_arg(env: Env, call: KCall) -> None:
    """Where interrupt flags are saved."""
    if call.reg.type != PTR_TO_STACK:
        env.refuse("EINVAL", f"{call.name} doesn't point to an irq flag on stack")
    save = call.func in ("bpf_local_irq_save", "bpf_res_spin_lock_irqsave")
    kfunc_class = IRQ_LOCK_KFUNC if "spin" in call.func else IRQ_NATIVE_KFUNC
    process_irq_flag(env, call.reg, call.argno, save=save, kfunc_class=kfunc_class)


# ---- lists and trees


def list_head_arg(env: Env, call: KCall) -> None:
    """A list."""
    check_graph_root(env, call.reg, call.argno, "bpf_list_head", call.meta)


def rb_root_arg(env: Env, call: KCall) -> None:
    """A tree."""
    check_graph_root(env, call.reg, call.argno, "bpf_rb_root", call.meta)


def list_node_arg(env: Env, call: KCall) -> None:
    """What is put into a list, or lies in it."""
    reg = call.reg
    non_owning = bool(reg.type & NON_OWN_REF) and not reg_is_referenced(env, reg)
    if not (call.arg.name.endswith("__nonown_allowed") and non_owning):
        if reg.type != ALLOCATED:
            env.refuse("EINVAL", f"{call.name} expected pointer to allocated object")
        need_referenced(env, reg)
    check_graph_node(env, reg, call.argno, "bpf_list_head", "bpf_list_node", call.meta)


def rb_node_arg(env: Env, call: KCall) -> None:
    """What is put into a tree, or lies in it."""
    reg = call.reg
    if call.func in RBTREE_ADD:
        if reg.type != ALLOCATED:
            env.refuse("EINVAL", f"{call.name} expected pointer to allocated object")
        need_referenced(env, reg)
    else:
        if not reg.type & NON_OWN_REF and not reg_is_referenced(env, reg):
            env.refuse("EINVAL", f"{call.func} can only take non-owning or refcounted bpf_rb_node pointer")
        if in_rbtree_lock_required_cb(env):
            env.refuse("EINVAL", f"{call.func} not allowed in rbtree cb")
    check_graph_node(env, reg, call.argno, "bpf_rb_root", "bpf_rb_node", call.meta)
