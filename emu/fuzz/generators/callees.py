"""What a generated program can call besides its own functions: kfuncs by number of arguments, and helpers. Tables."""

from dataclasses import dataclass

from bpf.kfuncs import KFUNCS
from bpf.proto import Param as CParam
from emu.fuzz.generators.prototypes import Param

_ROOMS = {"struct okf_pair": 16, "struct prog_test_pass1": 16}
_BUFFER = 8
_TEST_MODULE = "bpf_testmod"
_COMMON = ("bpf_kfunc_call_test_mem_len_pass1", "bpf_kfunc_common_test")  # of the test module, for all types


@dataclass(frozen=True, slots=True)
class Callee:
    """A kfunc. pointers: it is passed some. shows: it tells what another kfunc was passed. result: it returns something.

    everywhere: programs of all types may call it; otherwise those of type xdp may not. locked: also while a lock is held.
    """

    name: str
    module: str
    params: tuple[Param, ...]
    result: bool
    pointers: bool
    shows: bool
    everywhere: bool
    locked: bool


def _param(param: CParam, following: CParam | None) -> Param:
    made = param.type
    if made.kind != "ptr":
        return Param(str(made), bound=_BUFFER if param.name.endswith("__sz") else None)
    sized = following is not None and following.name.endswith("__sz")
    assert made.to is not None
    return Param(str(made), room=_BUFFER if sized else _ROOMS[made.to.name])


def _callee(name: str) -> Callee:
    kfunc = KFUNCS[name]
    params = kfunc.proto.params
    made = tuple(_param(one, two) for one, two in zip(params, (*params[1:], None), strict=False))
    return Callee(
        name,
        kfunc.module,
        made,
        kfunc.proto.ret.kind != "void",
        any(param.room for param in made),
        name in ("okf_last", "okf_raw"),
        kfunc.module != _TEST_MODULE or name in _COMMON,
        "spinlock_safe" in kfunc.flags,
    )


_NAMES = (
    *(f"okf_sum{count}" for count in range(5, 13)),
    *(f"okf_{made}x12" for made in ("u8", "s8", "u16", "s16", "u32", "s32", "bool", "ptr")),
    "okf_narrow12", "okf_narrow", "okf_ptr", "okf_mem", "okf_mem_split", "okf_void6",
    *(f"okf_{what}_{made}" for what in ("ret", "dirty") for made in ("u8", "s8", "u16", "s16", "u32", "s32", "bool")),
    "okf_ret_s32_8", "okf_clobber8", "okf_last", "okf_raw", "okf_count",
    "bpf_kfunc_common_test", "bpf_testmod_test_mod_kfunc", "bpf_kfunc_call_test_static_unused_arg",
    "bpf_kfunc_call_test_mem_len_pass1", "bpf_kfunc_call_test5", "bpf_kfunc_call_test4",
    "bpf_kfunc_call_stack_arg", "bpf_kfunc_call_stack_arg_ptr", "bpf_kfunc_call_stack_arg_mix", "bpf_kfunc_call_stack_arg_mem",
)  # fmt: skip

_CALLEES = tuple(_callee(name) for name in _NAMES)

# kfuncs by the number of their arguments
KFUNCS_OF: dict[int, tuple[Callee, ...]] = {
    count: tuple(one for one in _CALLEES if len(one.params) == count) for count in range(13)
}
KFUNC_COUNTS = tuple(count for count, some in KFUNCS_OF.items() if some)
# that may be called while a lock is held
LOCKED_KFUNCS = tuple(one for one in _CALLEES if one.locked)

# numbers of helpers
PER_CPU_PTR = 153
THIS_CPU_PTR = 154
MAP_LOOKUP = 1
MAP_UPDATE = 2
KTIME = 5
PRANDOM = 7
PROCESSOR = 8
SPIN_LOCK = 93
SPIN_UNLOCK = 94
TAIL_CALL = 12
FOR_EACH = 164
LOOP = 181

THROW = "bpf_throw"  # a kfunc of the kernel itself
