"""Where everything lies in the guest, and what recognisable rubbish looks like.

      0xfffffe0000001000  control page      4 KiB  RW   registers in and out, call records (cpu_entry_area of a kernel)
      0xfffffe0000100000  gate pages        1 MiB  RW   what the gates in front of BPF functions remember and write down
      0xfffffe0000300000  script            1 MiB  RW   answers that are known beforehand, inputs, what came of them
      0xffffc900000fc000  native stack     20 KiB  RW   unmapped guard pages on both sides (vmalloc area)
      0xffffffff81340000  entry and stubs 128 KiB  RX   kernel text: within rel32 reach of the image
      0xffffffff82000000  variables        64 KiB  RW   kernel data that code names (this_cpu_off, private stacks)
      0xffffffffc0000000  image            16 MiB  RX   where a kernel puts modules and BPF programs
      emu.runtime.memory.ARENAS: packet, ctx, maps, heap  RW, the same host bytes that the runtime uses

Numbers only; knows nothing of how they are mapped.
"""

from typing import Final

PAGE: Final = 4096

CONTROL: Final = 0xFFFF_FE00_0000_1000
CONTROL_SIZE: Final = PAGE

GATES: Final = 0xFFFF_FE00_0010_8000
GATES_SIZE: Final = 1 << 20

SCRIPT: Final = 0xFFFF_FE00_0031_4000
SCRIPT_SIZE: Final = 1 << 20
SCRIPT_LEFT: Final = SCRIPT + 8  # runs that are still to be made

THREAD_SIZE: Final = 16384  # bytes of stack from the main function's frame downwards
STACK_SIZE: Final = THREAD_SIZE + PAGE  # and a page above, where its callers' frames would be
STACK_MARGIN: Final = PAGE - 16
STACK: Final = (
    0xFFFF_C900_0010_0000 - THREAD_SIZE
)  # rbp of the main function: where the interpreter has its r10
GUARD: Final = 1 << 16  # an access this near outside the stack counts as its overflow

TEXT: Final = (
    0xFFFF_FFFF_8134_0000  # so that call distances do not look like instructions that are watched for
)
TEXT_SIZE: Final = 128 << 10
NATIVES: Final = TEXT + 0xC00  # symbols that are code of their own
END: Final = TEXT + 0xF80  # where a run ends
STUBS: Final = TEXT + PAGE  # first of the per-symbol stubs
STUB_SIZE: Final = 16
GATE_COUNT: Final = 1024  # functions with a gate; those behind are called directly
GATE_CODE: Final = TEXT + TEXT_SIZE - GATE_COUNT * STUB_SIZE - PAGE  # what gates share, then the gates
GATE_SLOTS: Final = GATE_CODE + PAGE
FINISHED: Final = GATE_CODE - PAGE  # code of scripts: where a run of theirs ends
BEGIN: Final = FINISHED + 0x200  # where each begins
SCRIPTED: Final = FINISHED + 0x400  # where all stubs go first
STUB_COUNT: Final = (FINISHED - STUBS) // STUB_SIZE

DATA: Final = 0xFFFF_FFFF_8200_0000
DATA_SIZE: Final = 64 << 10
DATA_STEP: Final = 1024

IMAGE: Final = 0xFFFF_FFFF_C000_0000
IMAGE_SIZE: Final = 16 << 20

# Non-canonical, so that each traps when it is used as a pointer; the low digits say which register it was put in.
SENTINELS: Final = {
    "rbx": 0x5E47_1E10_0000_0B0B,
    "rbp": 0x5E47_1E10_0000_0505,
    "r12": 0x5E47_1E10_0000_1212,
    "r13": 0x5E47_1E10_0000_1313,
    "r14": 0x5E47_1E10_0000_1414,
    "r15": 0x5E47_1E10_0000_1515,
}
POISON: Final = {
    "rax": 0xDEAD_0BAD_0000_0A0A,
    "rdi": 0xDEAD_0BAD_0000_0D01,
    "rsi": 0xDEAD_0BAD_0000_0501,
    "rdx": 0xDEAD_0BAD_0000_0D0D,
    "rcx": 0xDEAD_0BAD_0000_0C0C,
    "r8": 0xDEAD_0BAD_0000_0808,
    "r9": 0xDEAD_0BAD_0000_0909,
    "r10": 0xDEAD_0BAD_0000_1010,
    "r11": 0xDEAD_0BAD_0000_1111,
}
POISON_WORD: Final = (
    0xDEAD_0BAD_5AC0_0000  # argument words on the stack after a call; plus the argument's number
)
POISON_FLAGS: Final = 0x8D7  # CF PF AF ZF SF OF set, DF clear, IF clear
STACK_FILL: Final = 0xA5  # what the interpreter fills its stacks with; as a pointer it is non-canonical
