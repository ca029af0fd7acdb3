"""What a kernel's build and CPU change in the code that its JIT emits."""

from dataclasses import dataclass
from typing import Final, Literal

from bpf.errors import InputError


@dataclass(frozen=True, slots=True)
class Profile:
    """Options of the emitter; the default is a Debian 7.3 kernel on a CPU with BMI2 and without mitigations.

    bmi2: shlx, sarx, shrx for shifts by a register. ibt: endbr64 at the entry, at the tail-call entry and at
    targets of indirect jumps. sls: int3 behind a return and an indirect jump. return_thunk: a return is a jump to
    `__x86_return_thunk`. indirect: how `jmp reg` is written: itself, behind an lfence, through a retpoline, or
    through the thunk of the ITS mitigation. call_depth: each call is preceded by the accounting of call depth.
    la57: user addresses have 56 bits (only fault-tolerant loads show it). percpu_far: a private stack lies outside the
    first chunk of per-CPU memory, so that its address needs 8 bytes. max_entries_off, ptrs_off, bpf_func_off:
    offsets in struct bpf_array and struct bpf_prog that an indirect tail call reads.
    """

    name: str = "7.3"
    bmi2: bool = True
    ibt: bool = True
    sls: bool = True
    return_thunk: bool = False
    indirect: Literal["plain", "lfence", "retpoline", "its"] = "plain"
    call_depth: bool = False
    la57: bool = False
    percpu_far: bool = False
    max_entries_off: int = 0x44
    ptrs_off: int = 0x128
    bpf_func_off: int = 0x48

    @property
    def tail_call_offset(self) -> int:
        """Bytes from a function's entry to where a tail call enters it (X86_TAIL_CALL_OFFSET)."""
        return 16 if self.ibt else 12


DEFAULT: Final = Profile()
PRESETS: Final = {
    preset.name: preset
    for preset in (
        DEFAULT,
        Profile("7.3-nobmi2", bmi2=False),
        Profile("7.2"),  # the same bytes as 7.3; its verifier differs, not its emitter
        Profile("7.2-nobmi2", bmi2=False),
        Profile("7.3-mitigated", return_thunk=True, indirect="retpoline"),
        Profile("7.3-stuffed", return_thunk=True, indirect="retpoline", call_depth=True),  # retbleed=stuff
        Profile("plain", bmi2=False, ibt=False, sls=False),
    )
}


def preset(name: str) -> Profile:
    """The profile of this name. Raises InputError with the known names."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError("profile", repr(name), f"unknown; known are {', '.join(PRESETS)}") from None
