"""kfuncs of the kernel's own test module that its tests of stack arguments and of narrow arguments call."""

from typing import TYPE_CHECKING

from emu.runtime.kfuncs.registry import kfunc

if TYPE_CHECKING:
    from emu.runtime.world import World

EINVAL = 22
_NINE = "u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i"


@kfunc(f"u64 bpf_kfunc_call_stack_arg({_NINE}, u64 j)")
def stack_arg(world: "World", *args: int) -> int:
    """Ten numbers."""
    del world
    return sum(args)


@kfunc(f"u64 bpf_kfunc_call_stack_arg_ptr({_NINE}, struct prog_test_pass1 *p)")
def stack_arg_ptr(world: "World", *args: int) -> int:
    """Nine numbers and the first two members, of type int, of a struct."""
    *plain, p = args
    return sum(plain) + _int(world, p) + _int(world, p + 4)


@kfunc(
    "u64 bpf_kfunc_call_stack_arg_mix(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g,"
    " struct prog_test_pass1 *p, u64 h, struct prog_test_pass1 *q)"
)
def stack_arg_mix(world: "World", *args: int) -> int:
    """Eight numbers, the first member of one struct, the second of another."""
    p, h, q = args[7:]
    return sum(args[:7]) + _int(world, p) + h + _int(world, q + 4)


@kfunc(f"u64 bpf_kfunc_call_stack_arg_dynptr({_NINE}, struct bpf_dynptr *ptr)")
def stack_arg_dynptr(world: "World", *args: int) -> int:
    """Nine numbers and the size of a dynptr."""
    *plain, ptr = args
    return sum(plain) + (world.memory.load(ptr + 8, 4) & 0xFFFFFF)


@kfunc("u64 bpf_kfunc_call_stack_arg_mem(u64 a, u64 b, u64 c, u64 d, u64 e, void *mem, int mem__sz)")
def stack_arg_mem(world: "World", *args: int) -> int:
    """Five numbers and the bytes of a buffer."""
    *plain, mem, size = args
    return sum(plain) + sum(world.memory.read(mem, max(size, 0)))


@kfunc(f"u64 bpf_kfunc_call_stack_arg_iter({_NINE}, struct bpf_iter_testmod_seq *it__iter)")
def stack_arg_iter(world: "World", *args: int) -> int:
    """Nine numbers and the value of an iterator."""
    *plain, it = args
    return sum(plain) + world.memory.load(it, 8)


@kfunc(f"u64 bpf_kfunc_call_stack_arg_const_str({_NINE}, const char *str__str)")
def stack_arg_const_str(world: "World", *args: int) -> int:
    """Nine numbers."""
    del world
    return sum(args[:9])


@kfunc(f"u64 bpf_kfunc_call_stack_arg_timer({_NINE}, struct bpf_timer *timer)")
def stack_arg_timer(world: "World", *args: int) -> int:
    """Nine numbers."""
    del world
    return sum(args[:9])


@kfunc("int bpf_iter_testmod_seq_new(struct bpf_iter_testmod_seq *it, s64 value, int cnt)")
def seq_new(world: "World", it: int, value: int, cnt: int) -> int:
    """An iterator that gives `value` `cnt` times."""
    world.memory.store(it + 8, 4, cnt)
    if cnt < 0:
        return -EINVAL
    world.memory.store(it, 8, value)
    return 0


@kfunc("s64 *bpf_iter_testmod_seq_next(struct bpf_iter_testmod_seq *it)")
def seq_next(world: "World", it: int) -> int:
    """Address of the value, 0 at the end."""
    cnt = _int(world, it + 8)
    if cnt <= 0:
        return 0
    world.memory.store(it + 8, 4, cnt - 1)
    return it


@kfunc("void bpf_iter_testmod_seq_destroy(struct bpf_iter_testmod_seq *it)")
def seq_destroy(world: "World", it: int) -> None:
    """End the iteration."""
    world.memory.store(it + 8, 4, 0)


# ---- one to four arguments: how narrow ones are extended


@kfunc("long int bpf_kfunc_call_test4(signed char a, short int b, int c, long int d)")
def call_test4(world: "World", a: int, b: int, c: int, d: int) -> int:
    """The number of the first narrow argument that is not negative, else the sum."""
    del world
    return next((at for at, value in enumerate((a, b, c), 1) if value >= 0), a + b + c + d)


@kfunc("int bpf_kfunc_call_test5(u8 a, u16 b, u32 c)")
def call_test5(world: "World", a: int, b: int, c: int) -> int:
    """0; the number of a check that failed where a caller must extend arguments, which it need not on x86-64."""
    del world, a, b, c
    return 0


@kfunc("u32 bpf_kfunc_call_test_static_unused_arg(u32 arg, u32 unused)")
def static_unused_arg(world: "World", arg: int, unused: int) -> int:
    """The first of two numbers."""
    del world, unused
    return arg


@kfunc("void bpf_kfunc_call_test_mem_len_pass1(void *mem, int mem__sz)")
def mem_len_pass1(world: "World", mem: int, size: int) -> None:
    """Nothing."""


@kfunc("void bpf_testmod_test_mod_kfunc(int i)")
def test_mod_kfunc(world: "World", i: int) -> None:
    """Keeps the number in a variable of the module, which no program here reads."""


@kfunc("void bpf_kfunc_common_test(void)")
def common_test(world: "World") -> None:
    """Nothing."""


def _int(world: "World", addr: int) -> int:
    value = world.memory.load(addr, 4)
    return value - (1 << 32) if value >> 31 else value
