"""Prototypes and flags of kfuncs. A table; what a kfunc does is written elsewhere.

A row is the KF_* flags of include/linux/btf.h in small letters ("-" for none) and a C prototype. Parameter names
matter: their endings (`__sz`, `__ign`, `__str`, ...) are what the verifier goes by. The kernel's own rows are what the
BTF and the kfunc sets of a real 7.3.4 kernel say; of the structs that kfuncs point to, those with sizes are in STRUCTS.
"""

from dataclasses import dataclass
from functools import cache

from bpf.decl import parse_decl
from bpf.proto import CType, FuncProto, Param


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct of plain members. size: bytes; members in order, each at the offset that its alignment gives."""

    name: str
    size: int
    members: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class Kfunc:
    """A kernel function that programs may call.

    module: that defines it, "" for the kernel itself. flags: "acquire", "release", "ret_null", "sleepable",
    "destructive", "rcu", "iter_new", "implicit_args", ... text: its C prototype.
    """

    name: str
    module: str
    flags: frozenset[str]
    text: str

    @property
    def proto(self) -> FuncProto:
        """The parsed prototype. One has 13 parameters, which is one more than the kernel allows."""
        return _parse(self.text)


@cache
def _parse(text: str) -> FuncProto:
    return parse_decl(text)


def _rows(module: str, table: str) -> dict[str, Kfunc]:
    kfuncs = {}
    for line in table.strip().splitlines():
        flags, text = line.split(maxsplit=1)
        name = text[: text.index("(")].split()[-1].lstrip("*")
        kfuncs[name] = Kfunc(name, module, frozenset(flags.split(",")) - {"-"}, text)
    return kfuncs


_U64 = CType("int", "u64", 64)
_INT = CType("int", "int", 32, signed=True)

STRUCTS: dict[str, Struct] = {
    struct.name: struct
    for struct in (
        Struct("okf_pair", 16, (Param("x", _U64), Param("y", _U64))),
        Struct("prog_test_pass1", 16, tuple(Param(f"x{i}", _INT) for i in range(4))),
        Struct("prog_test_big_arg", 16, (Param("a", _U64), Param("b", _U64))),
        Struct("bpf_dynptr", 16, (Param("data", _U64), Param("size", _U64))),
        Struct("bpf_iter_num", 8, (Param("state", _U64),)),
        Struct("bpf_iter_testmod_seq", 16, (Param("value", _U64), Param("cnt", _U64))),
    )
}

# Sums of 5 to 12 arguments (and 13: one too many), every narrow type at every position, memory and its size on
# both sides of the border between registers and stack, every return type with and without garbage above it.
_CONVENTION = """
-                             u64 okf_sum5(u64 a, u64 b, u64 c, u64 d, u64 e)
-                             u64 okf_sum6(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
-                             u64 okf_sum7(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g)
-                             u64 okf_sum8(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h)
-                             u64 okf_sum9(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i)
-                             u64 okf_sum10(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j)
-                             u64 okf_sum11(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k)
-                             u64 okf_sum12(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l)
-                             u64 okf_sum13(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j, u64 k, u64 l, u64 m)
-                             u64 okf_u8x12(u8 a, u8 b, u8 c, u8 d, u8 e, u8 f, u8 g, u8 h, u8 i, u8 j, u8 k, u8 l)
-                             u64 okf_s8x12(s8 a, s8 b, s8 c, s8 d, s8 e, s8 f, s8 g, s8 h, s8 i, s8 j, s8 k, s8 l)
-                             u64 okf_u16x12(u16 a, u16 b, u16 c, u16 d, u16 e, u16 f, u16 g, u16 h, u16 i, u16 j, u16 k, u16 l)
-                             u64 okf_s16x12(s16 a, s16 b, s16 c, s16 d, s16 e, s16 f, s16 g, s16 h, s16 i, s16 j, s16 k, s16 l)
-                             u64 okf_u32x12(u32 a, u32 b, u32 c, u32 d, u32 e, u32 f, u32 g, u32 h, u32 i, u32 j, u32 k, u32 l)
-                             u64 okf_s32x12(s32 a, s32 b, s32 c, s32 d, s32 e, s32 f, s32 g, s32 h, s32 i, s32 j, s32 k, s32 l)
-                             u64 okf_boolx12(bool a, bool b, bool c, bool d, bool e, bool f, bool g, bool h, bool i, bool j, bool k, bool l)
-                             u64 okf_ptrx12(struct okf_pair *a, struct okf_pair *b, struct okf_pair *c, struct okf_pair *d, struct okf_pair *e, struct okf_pair *f, struct okf_pair *g, struct okf_pair *h, struct okf_pair *i, struct okf_pair *j, struct okf_pair *k, struct okf_pair *l)
-                             u64 okf_narrow12(u8 a, s8 b, u16 c, s16 d, u32 e, s32 f, bool g, u8 h, s8 i, u16 j, s16 k, s32 l)
-                             s64 okf_narrow(u64 a, u64 b, u64 c, u64 d, u64 e, s32 f, u8 g, s16 h, bool i, u32 j)
-                             u64 okf_ptr(u64 a, u64 b, u64 c, u64 d, u64 e, struct okf_pair *f, u64 g, struct okf_pair *h)
-                             u64 okf_mem(u64 a, u64 b, u64 c, u64 d, u64 e, void *mem, u32 mem__sz)
-                             u64 okf_mem_split(u64 a, u64 b, u64 c, u64 d, void *mem, u32 mem__sz)
-                             void okf_void6(u64 a, u64 b, u64 c, u64 d, u64 e, struct okf_pair *f)
-                             u8 okf_ret_u8(u64 a)
-                             s8 okf_ret_s8(u64 a)
-                             u16 okf_ret_u16(u64 a)
-                             s16 okf_ret_s16(u64 a)
-                             u32 okf_ret_u32(u64 a)
-                             s32 okf_ret_s32(u64 a)
-                             bool okf_ret_bool(u64 a)
-                             s32 okf_ret_s32_8(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h)
-                             u8 okf_dirty_u8(u64 a)
-                             s8 okf_dirty_s8(u64 a)
-                             u16 okf_dirty_u16(u64 a)
-                             s16 okf_dirty_s16(u64 a)
-                             u32 okf_dirty_u32(u64 a)
-                             s32 okf_dirty_s32(u64 a)
-                             bool okf_dirty_bool(u64 a)
-                             u64 okf_clobber8(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h)
-                             u64 okf_last(u32 i)
-                             u64 okf_raw(u32 i)
-                             u32 okf_count(void)
"""

# Of the kernel's own test module: those that its tests of stack arguments call.
_TESTMOD = """
-                             u64 bpf_kfunc_call_stack_arg(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j)
-                             u64 bpf_kfunc_call_stack_arg_ptr(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, struct prog_test_pass1 *p)
-                             u64 bpf_kfunc_call_stack_arg_mix(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, struct prog_test_pass1 *p, u64 h, struct prog_test_pass1 *q)
-                             u64 bpf_kfunc_call_stack_arg_dynptr(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, struct bpf_dynptr *ptr)
-                             u64 bpf_kfunc_call_stack_arg_mem(u64 a, u64 b, u64 c, u64 d, u64 e, void *mem, int mem__sz)
-                             u64 bpf_kfunc_call_stack_arg_iter(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, struct bpf_iter_testmod_seq *it__iter)
-                             u64 bpf_kfunc_call_stack_arg_const_str(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, const char *str__str)
-                             u64 bpf_kfunc_call_stack_arg_timer(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, struct bpf_timer *timer)
-                             u64 bpf_kfunc_call_stack_arg_big(u64 a, u64 b, u64 c, u64 d, u64 e, struct prog_test_big_arg s)
iter_new                      int bpf_iter_testmod_seq_new(struct bpf_iter_testmod_seq *it, s64 value, int cnt)
iter_next,ret_null            s64 *bpf_iter_testmod_seq_next(struct bpf_iter_testmod_seq *it)
iter_destroy                  void bpf_iter_testmod_seq_destroy(struct bpf_iter_testmod_seq *it)
"""

_KERNEL = """
arena_ret,arena_arg2,spinlock_safe void *bpf_arena_alloc_pages(void *p__map, void *addr__ign, u32 page_cnt, int node_id, u64 flags)
arena_arg2,spinlock_safe           void bpf_arena_free_pages(void *p__map, void *ptr__ign, u32 page_cnt)
arena_arg2,spinlock_safe           int bpf_arena_reserve_pages(void *p__map, void *ptr__ign, u32 page_cnt)
fastcall                                           void *bpf_cast_to_kern_ctx(void *obj)
acquire,ret_null,rcu                   struct cgroup *bpf_cgroup_acquire(struct cgroup *cgrp)
acquire,ret_null,rcu                   struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level)
acquire,ret_null                           struct cgroup *bpf_cgroup_from_id(u64 cgid)
rcu                                                     int bpf_cgroup_read_xattr(struct cgroup *cgroup, const char *name__str, struct bpf_dynptr *value_p)
release                                             void bpf_cgroup_release(struct cgroup *cgrp)
sleepable,perfmon                         int bpf_copy_from_user_dynptr(const struct bpf_dynptr *dptr, u64 off, u64 size, const void *unsafe_ptr__ign)
sleepable,perfmon                         int bpf_copy_from_user_str(void *dst, u32 dst__sz, const void *unsafe_ptr__ign, u64 flags)
sleepable,perfmon                         int bpf_copy_from_user_str_dynptr(const struct bpf_dynptr *dptr, u64 off, u64 size, const void *unsafe_ptr__ign)
sleepable,perfmon                         int bpf_copy_from_user_task_dynptr(const struct bpf_dynptr *dptr, u64 off, u64 size, const void *unsafe_ptr__ign, struct task_struct *tsk)
sleepable,perfmon                         int bpf_copy_from_user_task_str(void *dst, u32 dst__sz, const void *unsafe_ptr__ign, struct task_struct *tsk, u64 flags)
sleepable,perfmon                         int bpf_copy_from_user_task_str_dynptr(const struct bpf_dynptr *dptr, u64 off, u64 size, const void *unsafe_ptr__ign, struct task_struct *tsk)
acquire                                             struct bpf_cpumask *bpf_cpumask_acquire(struct bpf_cpumask *cpumask)
rcu                                                     bool bpf_cpumask_and(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2)
rcu                                                     u32 bpf_cpumask_any_and_distribute(const struct cpumask *src1, const struct cpumask *src2)
rcu                                                     u32 bpf_cpumask_any_distribute(const struct cpumask *cpumask)
rcu                                                     void bpf_cpumask_clear(struct bpf_cpumask *cpumask)
rcu                                                     void bpf_cpumask_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask)
rcu                                                     void bpf_cpumask_copy(struct bpf_cpumask *dst, const struct cpumask *src)
acquire,ret_null                           struct bpf_cpumask *bpf_cpumask_create(void)
rcu                                                     bool bpf_cpumask_empty(const struct cpumask *cpumask)
rcu                                                     bool bpf_cpumask_equal(const struct cpumask *src1, const struct cpumask *src2)
rcu                                                     u32 bpf_cpumask_first(const struct cpumask *cpumask)
rcu                                                     u32 bpf_cpumask_first_and(const struct cpumask *src1, const struct cpumask *src2)
rcu                                                     u32 bpf_cpumask_first_zero(const struct cpumask *cpumask)
rcu                                                     bool bpf_cpumask_full(const struct cpumask *cpumask)
rcu                                                     bool bpf_cpumask_intersects(const struct cpumask *src1, const struct cpumask *src2)
rcu                                                     void bpf_cpumask_or(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2)
rcu                                                     int bpf_cpumask_populate(struct bpf_cpumask *cpumask, void *src, size_t src__sz)
release                                             void bpf_cpumask_release(struct bpf_cpumask *cpumask)
rcu                                                     void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *cpumask)
rcu                                                     void bpf_cpumask_setall(struct bpf_cpumask *cpumask)
rcu                                                     bool bpf_cpumask_subset(const struct cpumask *src1, const struct cpumask *src2)
rcu                                                     u32 bpf_cpumask_weight(const struct cpumask *cpumask)
rcu                                                     void bpf_cpumask_xor(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2)
acquire,ret_null,rcu                   struct bpf_crypto_ctx *bpf_crypto_ctx_acquire(struct bpf_crypto_ctx *ctx)
acquire,ret_null,sleepable       struct bpf_crypto_ctx *bpf_crypto_ctx_create(const struct bpf_crypto_params *params, u32 params__sz, int *err)
release                                             void bpf_crypto_ctx_release(struct bpf_crypto_ctx *ctx)
rcu                                                     int bpf_crypto_decrypt(struct bpf_crypto_ctx *ctx, const struct bpf_dynptr *src, const struct bpf_dynptr *dst, const struct bpf_dynptr *siv__nullable)
rcu                                                     int bpf_crypto_encrypt(struct bpf_crypto_ctx *ctx, const struct bpf_dynptr *src, const struct bpf_dynptr *dst, const struct bpf_dynptr *siv__nullable)
-                                                         int bpf_dynptr_adjust(struct bpf_dynptr *p, u64 start, u64 end)
-                                                         int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit)
-                                                         int bpf_dynptr_copy(const struct bpf_dynptr *dst_ptr, u64 dst_off, const struct bpf_dynptr *src_ptr, u64 src_off, u64 size)
release                                             int bpf_dynptr_file_discard(struct bpf_dynptr *dynptr)
-                                                         int bpf_dynptr_from_file(struct file *file, u32 flags, struct bpf_dynptr *ptr__uninit)
-                                                         int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *ptr__uninit)
-                                                         int bpf_dynptr_from_skb_meta(struct __sk_buff *skb_, u64 flags, struct bpf_dynptr *ptr__uninit)
-                                                         int bpf_dynptr_from_xdp(struct xdp_md *x, u64 flags, struct bpf_dynptr *ptr__uninit)
-                                                         bool bpf_dynptr_is_null(const struct bpf_dynptr *p)
-                                                         bool bpf_dynptr_is_rdonly(const struct bpf_dynptr *p)
-                                                         int bpf_dynptr_memset(const struct bpf_dynptr *p, u64 offset, u64 size, u8 val)
-                                                         u64 bpf_dynptr_size(const struct bpf_dynptr *p)
ret_null                                           void *bpf_dynptr_slice(const struct bpf_dynptr *p, u64 offset, void *buffer__nullable, u64 buffer__szk)
ret_null                                           void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *p, u64 offset, void *buffer__nullable, u64 buffer__szk)
sleepable                                         int bpf_get_dentry_xattr(struct dentry *dentry, const char *name__str, struct bpf_dynptr *value_p)
sleepable                                         int bpf_get_file_xattr(struct file *file, const char *name__str, struct bpf_dynptr *value_p)
-                                                         int bpf_get_fsverity_digest(struct file *file, const struct bpf_dynptr *digest_p)
perfmon                                             struct kmem_cache *bpf_get_kmem_cache(u64 addr)
acquire,ret_null,rcu                   struct mem_cgroup *bpf_get_mem_cgroup(struct cgroup_subsys_state *css)
acquire,ret_null                           struct mem_cgroup *bpf_get_root_mem_cgroup(void)
acquire,ret_null                           struct file *bpf_get_task_exe_file(struct task_struct *task)
-                                                         int bpf_icmp_send(struct __sk_buff *skb_ctx, int type, int code)
ret_null                                           __u8 *bpf_io_uring_get_region(struct iou_ctx *loop_ctx, __u32 region_id, const size_t rdwr_buf_size)
sleepable                                         int bpf_io_uring_submit_sqes(struct iou_ctx *loop_ctx, u32 nr)
iter_destroy                                   void bpf_iter_bits_destroy(struct bpf_iter_bits *it)
iter_new,perfmon                           int bpf_iter_bits_new(struct bpf_iter_bits *it, const u64 *unsafe_ptr__ign, u32 nr_words)
ret_null,iter_next                       int *bpf_iter_bits_next(struct bpf_iter_bits *it)
iter_destroy                                   void bpf_iter_css_destroy(struct bpf_iter_css *it)
iter_new,rcu_protected               int bpf_iter_css_new(struct bpf_iter_css *it, struct cgroup_subsys_state *start, unsigned int flags)
ret_null,iter_next                       struct cgroup_subsys_state *bpf_iter_css_next(struct bpf_iter_css *it)
iter_destroy                                   void bpf_iter_css_task_destroy(struct bpf_iter_css_task *it)
iter_new                                           int bpf_iter_css_task_new(struct bpf_iter_css_task *it, struct cgroup_subsys_state *css, unsigned int flags)
ret_null,iter_next                       struct task_struct *bpf_iter_css_task_next(struct bpf_iter_css_task *it)
sleepable,iter_destroy               void bpf_iter_dmabuf_destroy(struct bpf_iter_dmabuf *it)
sleepable,iter_new                       int bpf_iter_dmabuf_new(struct bpf_iter_dmabuf *it)
ret_null,sleepable,iter_next   struct dma_buf *bpf_iter_dmabuf_next(struct bpf_iter_dmabuf *it)
sleepable,iter_destroy               void bpf_iter_kmem_cache_destroy(struct bpf_iter_kmem_cache *it)
sleepable,iter_new                       int bpf_iter_kmem_cache_new(struct bpf_iter_kmem_cache *it)
ret_null,sleepable,iter_next   struct kmem_cache *bpf_iter_kmem_cache_next(struct bpf_iter_kmem_cache *it)
iter_destroy,spinlock_safe       void bpf_iter_num_destroy(struct bpf_iter_num *it)
iter_new,spinlock_safe               int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end)
ret_null,iter_next,spinlock_safe int *bpf_iter_num_next(struct bpf_iter_num *it)
iter_destroy                                   void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it)
iter_new,rcu_protected,implicit_args int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, u64 dsq_id, u64 flags)
ret_null,iter_next                       struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it)
iter_destroy                                   void bpf_iter_task_destroy(struct bpf_iter_task *it)
iter_new,rcu_protected               int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task__nullable, unsigned int flags)
ret_null,iter_next                       struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it)
iter_destroy                                   void bpf_iter_task_vma_destroy(struct bpf_iter_task_vma *it)
rcu,iter_new                                   int bpf_iter_task_vma_new(struct bpf_iter_task_vma *it, struct task_struct *task, u64 addr)
ret_null,iter_next                       struct vm_area_struct *bpf_iter_task_vma_next(struct bpf_iter_task_vma *it)
release                                             void bpf_key_put(struct bpf_key *bkey)
release                                             void bpf_kfree_skb(struct sk_buff *skb)
acquire,ret_null,rcu                   struct bpf_ksock *bpf_ksock_acquire(struct bpf_ksock *ks)
sleepable                                         int bpf_ksock_connect(struct bpf_ksock *ks, const union bpf_ksock_addr *addr, u32 addr__sz)
acquire,ret_null,sleepable       struct bpf_ksock *bpf_ksock_create(const struct bpf_ksock_create_opts *opts, u32 opts__sz, int *err__uninit)
release                                             void bpf_ksock_release(struct bpf_ksock *ks)
sleepable                                         int bpf_ksock_send(struct bpf_ksock *ks, const void *data, u32 data__sz)
implicit_args,spinlock_safe     int bpf_list_add(struct bpf_list_head *head, struct bpf_list_node *new, struct bpf_list_node *prev__nonown_allowed)
ret_null,spinlock_safe               struct bpf_list_node *bpf_list_back(struct bpf_list_head *head)
acquire,ret_null,spinlock_safe struct bpf_list_node *bpf_list_del(struct bpf_list_head *head, struct bpf_list_node *node__nonown_allowed)
spinlock_safe                                 bool bpf_list_empty(struct bpf_list_head *head)
ret_null,spinlock_safe               struct bpf_list_node *bpf_list_front(struct bpf_list_head *head)
spinlock_safe                                 bool bpf_list_is_first(struct bpf_list_head *head, struct bpf_list_node *node__nonown_allowed)
spinlock_safe                                 bool bpf_list_is_last(struct bpf_list_head *head, struct bpf_list_node *node__nonown_allowed)
acquire,ret_null,spinlock_safe struct bpf_list_node *bpf_list_pop_back(struct bpf_list_head *head)
acquire,ret_null,spinlock_safe struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head)
implicit_args,spinlock_safe     int bpf_list_push_back(struct bpf_list_head *head, struct bpf_list_node *node)
spinlock_safe                                 int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, u64 off)
implicit_args,spinlock_safe     int bpf_list_push_front(struct bpf_list_head *head, struct bpf_list_node *node)
spinlock_safe                                 int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, u64 off)
-                                                         void bpf_local_irq_restore(unsigned long *flags__irq_flag)
-                                                         void bpf_local_irq_save(unsigned long *flags__irq_flag)
acquire,ret_null                           struct bpf_key *bpf_lookup_system_key(u64 id)
acquire,ret_null,sleepable       struct bpf_key *bpf_lookup_user_key(s32 serial, u64 flags)
-                                                         s64 bpf_map_sum_elem_count(const struct bpf_map *map)
sleepable                                         void bpf_mem_cgroup_flush_stats(struct mem_cgroup *memcg)
-                                                         unsigned long bpf_mem_cgroup_memory_events(struct mem_cgroup *memcg, enum memcg_memory_event event)
-                                                         unsigned long bpf_mem_cgroup_page_state(struct mem_cgroup *memcg, int idx)
-                                                         unsigned long bpf_mem_cgroup_usage(struct mem_cgroup *memcg)
-                                                         unsigned long bpf_mem_cgroup_vm_events(struct mem_cgroup *memcg, enum vm_event_item event)
release,implicit_args                 void bpf_obj_drop(void *p__alloc)
release                                             void bpf_obj_drop_impl(void *p__alloc, void *meta__ign)
acquire,ret_null,implicit_args void *bpf_obj_new(u64 local_type_id__k)
acquire,ret_null                           void *bpf_obj_new_impl(u64 local_type_id__k, void *meta__ign)
-                                                         int bpf_path_d_path(const struct path *path, char *buf, size_t buf__sz)
release,implicit_args                 void bpf_percpu_obj_drop(void *p__alloc)
release                                             void bpf_percpu_obj_drop_impl(void *p__alloc, void *meta__ign)
acquire,ret_null,implicit_args void *bpf_percpu_obj_new(u64 local_type_id__k)
acquire,ret_null                           void *bpf_percpu_obj_new_impl(u64 local_type_id__k, void *meta__ign)
-                                                         void bpf_preempt_disable(void)
-                                                         void bpf_preempt_enable(void)
perfmon                                             int bpf_probe_read_kernel_dynptr(const struct bpf_dynptr *dptr, u64 off, u64 size, const void *unsafe_ptr__ign)
perfmon                                             int bpf_probe_read_kernel_str_dynptr(const struct bpf_dynptr *dptr, u64 off, u64 size, const void *unsafe_ptr__ign)
perfmon                                             int bpf_probe_read_user_dynptr(const struct bpf_dynptr *dptr, u64 off, u64 size, const void *unsafe_ptr__ign)
perfmon                                             int bpf_probe_read_user_str_dynptr(const struct bpf_dynptr *dptr, u64 off, u64 size, const void *unsafe_ptr__ign)
release                                             void bpf_put_file(struct file *file)
release                                             void bpf_put_mem_cgroup(struct mem_cgroup *memcg)
implicit_args,spinlock_safe     int bpf_rbtree_add(struct bpf_rb_root *root, struct bpf_rb_node *node, void *less)
spinlock_safe                                 int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node, void *less, void *meta__ign, u64 off)
ret_null,spinlock_safe               struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root)
ret_null,spinlock_safe               struct bpf_rb_node *bpf_rbtree_left(struct bpf_rb_root *root, struct bpf_rb_node *node)
acquire,ret_null,spinlock_safe struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root, struct bpf_rb_node *node)
ret_null,spinlock_safe               struct bpf_rb_node *bpf_rbtree_right(struct bpf_rb_root *root, struct bpf_rb_node *node)
ret_null,spinlock_safe               struct bpf_rb_node *bpf_rbtree_root(struct bpf_rb_root *root)
-                                                         void bpf_rcu_read_lock(void)
-                                                         void bpf_rcu_read_unlock(void)
fastcall,perfmon                           void *bpf_rdonly_cast(const void *obj__ign, u32 btf_id__k)
ret_null,sleepable                       struct inode *bpf_real_data_inode(struct file *file)
acquire,ret_null,rcu,implicit_args,spinlock_safe void *bpf_refcount_acquire(void *p__refcounted_kptr)
acquire,ret_null,rcu,spinlock_safe void *bpf_refcount_acquire_impl(void *p__refcounted_kptr, void *meta__ign)
sleepable                                         int bpf_remove_dentry_xattr(struct dentry *dentry, const char *name__str)
ret_null,spinlock_safe               int bpf_res_spin_lock(struct bpf_res_spin_lock *lock)
ret_null,spinlock_safe               int bpf_res_spin_lock_irqsave(struct bpf_res_spin_lock *lock, unsigned long *flags__irq_flag)
spinlock_safe                                 void bpf_res_spin_unlock(struct bpf_res_spin_lock *lock)
spinlock_safe                                 void bpf_res_spin_unlock_irqrestore(struct bpf_res_spin_lock *lock, unsigned long *flags__irq_flag)
-                                                         int bpf_send_signal_task(struct task_struct *task, int sig, enum pid_type type, u64 value)
-                                                         __u64 *bpf_session_cookie(void *ctx)
-                                                         bool bpf_session_is_return(void *ctx)
sleepable                                         int bpf_set_dentry_xattr(struct dentry *dentry, const char *name__str, const struct bpf_dynptr *value_p, int flags)
-                                                         int bpf_sk_assign_tcp_reqsk(struct __sk_buff *s, struct sock *sk, struct bpf_tcp_req_attrs *attrs, int attrs__sz)
-                                                         u32 bpf_skb_get_hash(struct sk_buff *skb)
-                                                         int bpf_sock_addr_set_sun_path(struct bpf_sock_addr_kern *sa_kern, const u8 *sun_path, u32 sun_path__sz)
-                                                         int bpf_sock_destroy(struct sock_common *sock)
-                                                         int bpf_sock_ops_enable_tx_tstamp(struct bpf_sock_ops_kern *skops, u64 flags)
rcu                                                     int bpf_sock_read_xattr(struct socket *sock, const char *name__str, struct bpf_dynptr *value_p)
perfmon                                             int bpf_strcasecmp(const char *s1__ign, const char *s2__ign)
perfmon                                             int bpf_strcasestr(const char *s1__ign, const char *s2__ign)
perfmon                                             int bpf_strchr(const char *s__ign, char c)
perfmon                                             int bpf_strchrnul(const char *s__ign, char c)
perfmon                                             int bpf_strcmp(const char *s1__ign, const char *s2__ign)
perfmon                                             int bpf_strcspn(const char *s__ign, const char *reject__ign)
implicit_args,spinlock_safe,perfmon int bpf_stream_print_stack(int stream_id)
implicit_args,spinlock_safe,perfmon int bpf_stream_vprintk(int stream_id, const char *fmt__str, const void *args, u32 len__sz)
perfmon                                             int bpf_strlen(const char *s__ign)
perfmon                                             int bpf_strncasecmp(const char *s1__ign, const char *s2__ign, size_t len)
perfmon                                             int bpf_strncasestr(const char *s1__ign, const char *s2__ign, size_t len)
perfmon                                             int bpf_strnchr(const char *s__ign, size_t count, char c)
perfmon                                             int bpf_strnlen(const char *s__ign, size_t count)
perfmon                                             int bpf_strnstr(const char *s1__ign, const char *s2__ign, size_t len)
perfmon                                             int bpf_strrchr(const char *s__ign, int c)
perfmon                                             int bpf_strspn(const char *s__ign, const char *accept__ign)
perfmon                                             int bpf_strstr(const char *s1__ign, const char *s2__ign)
acquire,ret_null,rcu                   struct task_struct *bpf_task_acquire(struct task_struct *p)
acquire,ret_null                           struct task_struct *bpf_task_from_pid(s32 pid)
acquire,ret_null                           struct task_struct *bpf_task_from_vpid(s32 vpid)
acquire,ret_null,rcu                   struct cgroup *bpf_task_get_cgroup1(struct task_struct *task, int hierarchy_id)
release                                             void bpf_task_release(struct task_struct *p)
rcu                                                     long bpf_task_under_cgroup(struct task_struct *task, struct cgroup *ancestor)
implicit_args                                 int bpf_task_work_schedule_resume(struct task_struct *task, struct bpf_task_work *tw, void *map__const_map, bpf_task_work_callback_t callback)
implicit_args                                 int bpf_task_work_schedule_signal(struct task_struct *task, struct bpf_task_work *tw, void *map__const_map, bpf_task_work_callback_t callback)
-                                                         void bpf_throw(u64 cookie)
-                                                         int bpf_timer_cancel_async(struct bpf_timer *timer)
sleepable                                         int bpf_verify_pkcs7_signature(const struct bpf_dynptr *data_p, const struct bpf_dynptr *sig_p, struct bpf_key *trusted_keyring)
-                                                         void *bpf_wakeup_sources_get_head(void)
acquire                                             struct bpf_ws_lock *bpf_wakeup_sources_read_lock(void)
release                                             void bpf_wakeup_sources_read_unlock(struct bpf_ws_lock *lock)
-                                                         int bpf_wq_init(struct bpf_wq *wq, void *p__const_map, unsigned int flags)
implicit_args                                 int bpf_wq_set_callback(struct bpf_wq *wq, void *callback_fn, unsigned int flags)
-                                                         int bpf_wq_start(struct bpf_wq *wq, unsigned int flags)
acquire,ret_null                           struct xfrm_state *bpf_xdp_get_xfrm_state(struct xdp_md *ctx, struct bpf_xfrm_state_opts *opts, u32 opts__sz)
-                                                         int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, u32 *hash, enum xdp_rss_hash_type *rss_type)
-                                                         int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, u64 *timestamp)
-                                                         int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, u16 *vlan_proto, u16 *vlan_tci)
-                                                         int bpf_xdp_pull_data(struct xdp_md *x, u32 len)
release                                             void bpf_xdp_xfrm_state_release(struct xfrm_state *x)
"""

KFUNCS: dict[str, Kfunc] = {
    **_rows("", _KERNEL),
    **_rows("bpf_testmod", _TESTMOD),
    **_rows("oracle_kfunc", _CONVENTION),
}
