"""What a kernel's build and CPU change in the code that its JIT emits."""

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from bpf.errors import InputError


@dataclass(frozen=True, slots=True)
class Profile:
    """Options of the emitter; the default is a Debian 7.3 kernel on a CPU with BMI2 and without mitigations.

    bmi2: shlx, sarx, shrx for shifts by a register. ibt: endbr64 at the entry, at the tail-call entry and at
    targets of indirect jumps. sls: int3 behind a return and an indirect jump. return_thunk: a return is a jump to
    this symbol; "" = a return. indirect: how `jmp reg` is written: itself, behind an lfence, through a retpoline, or
    through the thunk of the ITS mitigation. call_depth: each call is preceded by the accounting of call depth.
    bhb_loop, bhb_fence: how a filter of classic BPF of a user clears the branch history before it returns: by
    calling `clear_bhb_loop`, by the instruction ibhf, or both.
    la57: user addresses have 56 bits (only fault-tolerant loads show it). percpu_far: a private stack lies outside the
    first chunk of per-CPU memory, so that its address needs 8 bytes. max_entries_off, ptrs_off, bpf_func_off:
    offsets in struct bpf_array and struct bpf_prog that an indirect tail call reads.
    """

    name: str = "7.3"
    bmi2: bool = True
    ibt: bool = True
    sls: bool = True
    return_thunk: str = ""
    indirect: Literal["plain", "lfence", "retpoline", "its"] = "plain"
    call_depth: bool = False
    bhb_loop: bool = False
    bhb_fence: bool = False
    la57: bool = False
    percpu_far: bool = False
    max_entries_off: int = 0x44
    ptrs_off: int = 0x128
    bpf_func_off: int = 0x48

    @property
    def tail_call_offset(self) -> int:
        """Bytes from a function's entry to where a tail call enters it (X86_TAIL_CALL_OFFSET)."""
        return 16 if self.ibt else 12


# What mitigations=auto comes to, by processor. All were seen on a real 7.3.4 kernel, but for "-its".
_MITIGATED: Final[dict[str, dict[str, Any]]] = {
    "": {},  # mitigations=off, or a processor that needs none
    "-nobmi2": {"bmi2": False},
    "-retpoline": {"indirect": "retpoline"},
    "-lfence": {"indirect": "lfence"},  # spectre_v2=retpoline,lfence
    "-skylake": {"indirect": "retpoline", "return_thunk": "its_return_thunk"},  # and Ice Lake without IBRS
    "-its": {"indirect": "its", "return_thunk": "its_return_thunk"},  # Cascade Lake to Rocket Lake, with IBRS
    "-stuffed": {  # Skylake with retbleed=stuff
        "indirect": "retpoline",
        "return_thunk": "call_depth_return_thunk",
        "call_depth": True,
    },
    "-zen2": {"indirect": "retpoline", "return_thunk": "retbleed_return_thunk"},  # AMD Zen 1 and 2
    "-zen3": {"indirect": "retpoline", "return_thunk": "srso_alias_return_thunk"},
}


def _presets() -> dict[str, Profile]:
    """7.2 and 7.3 emit the same; what differs between them is the verifier."""
    found = {
        release + name: Profile(release + name, **options)
        for release in ("7.3", "7.2")
        for name, options in _MITIGATED.items()
    }
    for release in ("7.3", "7.2"):  # a stock Debian kernel with mitigations, on the processors that pay most
        found[f"{release}-mitigated"] = replace(found[f"{release}-zen2"], name=f"{release}-mitigated")
    found["plain"] = Profile("plain", bmi2=False, ibt=False, sls=False)
    return found


PRESETS: Final = _presets()
DEFAULT: Final = PRESETS["7.3"]


def preset(name: str) -> Profile:
    """The profile of this name. Raises InputError with the known names."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError("profile", repr(name), f"unknown; known are {', '.join(PRESETS)}") from None
