"""The way into the guest and out again: one piece of native code, and the drop to user privilege before it.

Unicorn starts at privilege level 0 without paging, where hlt, cli, wrmsr, mov cr0, lgdt or in succeed silently. One
`iretq` brings the processor to level 3; then the descriptor tables are emptied. From there on every privileged
instruction, and every load of a segment register with anything but null, is a #GP at its own address, at no cost and
wherever a program jumps to: no scan of the code could promise that.
"""

import re
import struct
from collections.abc import Sequence
from typing import Any, Final

import keystone

from bpf.errors import InternalError
from emu.sandbox import addresses, control
from emu.sandbox.native import Processor

_CODE_SELECTOR: Final = 0x23
DATA_SELECTOR: Final = 0x1B
_USER_DATA = struct.pack("<HHBBBB", 0xFFFF, 0, 0, 0xF2, 0xCF, 0)
_USER_CODE = struct.pack("<HHBBBB", 0xFFFF, 0, 0, 0xFA, 0xAF, 0)
_GDT = (
    bytes(24) + _USER_DATA + _USER_CODE
)  # null, two kernel entries that are not there, data 0x18, code 0x20

_CR0_TS: Final = 1 << 3  # task switched: x87, MMX, SSE, AVX and, in Unicorn, BMI2 are #NM
_CR4_TSD: Final = 1 << 2  # rdtsc is #GP
_CR4_FSGSBASE: Final = 1 << 16  # rdfsbase and relatives are #UD unless set
_CR4_OSXSAVE: Final = 1 << 18  # xgetbv and xsave are #UD unless set


_DECIMAL: Final = re.compile(r"(?<![\w.])\d+(?!\w)")


def assemble(text: str, addr: int) -> bytes:
    """Native code of ours; keystone is right for it, and too slow and too often wrong for anything else.

    Keystone never sets the radix of numbers without a prefix: whatever lay in its memory decides whether `27` is 27 or
    39. So none reaches it.
    """
    module: Any = keystone  # it has no types
    text = _DECIMAL.sub(lambda number: hex(int(number[0])), text)
    code, _count = module.Ks(module.KS_ARCH_X86, module.KS_MODE_64).asm(text, addr)
    if code is None:
        raise InternalError("keystone: nothing assembled")
    return bytes(code)


def join(lines: Sequence[str]) -> str:
    """Lines for `assemble`: labels end in a colon and take no semicolon."""
    return "".join(line + (" " if line.endswith(":") else "; ") for line in lines)


def trampoline() -> bytes:
    """The code at TEXT that calls the function at IMAGE, and comes to END; or to FINISHED when a script has runs left.

    Unicorn throws away the block in which a run ends, each time: so END is a block of its own.
    """
    top = addresses.STACK + addresses.STACK_SIZE - addresses.STACK_MARGIN
    lines = [
        f"movabs r11, {addresses.CONTROL:#x}",
        f"movabs rsp, {top:#x}",
        f"push {addresses.POISON_FLAGS:#x}",
        "popfq",
        f"mov rdi, [r11 + {control.IN_CTX:#x}]",
        *(f"movabs {reg}, {value:#x}" for reg, value in addresses.SENTINELS.items()),
        *(f"movabs {reg}, {value:#x}" for reg, value in addresses.POISON.items() if reg != "rdi"),
    ]
    head = assemble("; ".join(lines), addresses.TEXT)
    back = addresses.TEXT + len(head) + 5
    head += b"\xe8" + struct.pack("<i", addresses.IMAGE - back)
    stores = [
        f"mov [r11 + {control.EXIT + 8 * i:#x}], {reg}"
        for i, reg in enumerate(control.EXIT_REGISTERS)
        if reg != "flags"
    ]
    selectors = control.EXIT + 8 * len(control.EXIT_REGISTERS)
    lines = [
        f"movabs r11, {addresses.CONTROL:#x}",
        *stores,
        f"movabs rsp, {top:#x}",
        "pushfq",
        "pop rcx",
        f"mov [r11 + {selectors - 8:#x}], rcx",
        "cld",
    ]
    for i, reg in enumerate(("ds", "es", "fs", "gs")):
        lines += [f"mov eax, {reg}", f"mov [r11 + {selectors + 2 * i:#x}], ax"]
    lines += [
        f"mov qword ptr [r11 + {control.DONE:#x}], 1",
        f"movabs r11, {addresses.SCRIPT_LEFT:#x}",
        "cmp qword ptr [r11], 0",
        f"jne {addresses.FINISHED:#x}",
    ]
    tail = assemble("; ".join(lines), back)
    jump = addresses.TEXT + len(head) + len(tail) + 5
    return head + tail + b"\xe9" + struct.pack("<i", addresses.END - jump)


def entry_rsp() -> int:
    """rsp as the main function finds it, and must leave it plus 8."""
    return addresses.STACK + addresses.STACK_SIZE - addresses.STACK_MARGIN - 8


def drop_privileges(cpu: Processor, text: memoryview, scratch: memoryview) -> None:
    """Bring `cpu` to level 3 for good. text: host bytes at TEXT, scratch: at CONTROL; both are left dirty."""
    scratch[: len(_GDT)] = _GDT
    cpu.set_descriptors(addresses.CONTROL, len(_GDT) - 1)
    loads = "; ".join(f"mov {reg}, eax" for reg in ("ds", "es", "fs", "gs"))
    target = addresses.TEXT + 0x800
    code = assemble(
        f"mov eax, {DATA_SELECTOR}; {loads}; movabs rax, {target:#x}; "
        f"push {DATA_SELECTOR}; push rsp; push 2; push {_CODE_SELECTOR}; push rax; iretq",
        addresses.TEXT,
    )
    text[: len(code)] = code
    text[0x800] = 0x90
    cpu.write("rsp", addresses.STACK + addresses.STACK_SIZE)
    error = cpu.start(addresses.TEXT, target)
    if error or cpu.read("cs") != _CODE_SELECTOR:
        raise InternalError(
            f"the processor did not come to user privilege: error {error} at {cpu.read('rip'):#x}"
        )
    cpu.set_descriptors(0, 0)
    cpu.write("cr4", (cpu.read("cr4") | _CR4_TSD) & ~(_CR4_FSGSBASE | _CR4_OSXSAVE))
    cpu.flush()
    text[:] = b"\xcc" * len(text)
    scratch[:] = bytes(len(scratch))


def allow_vectors(cpu: Processor, allowed: bool) -> None:
    """Whether BMI2 instructions work, and with them, alas, x87, MMX and SSE: Unicorn knows one switch for all."""
    cr0 = cpu.read("cr0")
    cpu.write("cr0", cr0 & ~_CR0_TS if allowed else cr0 | _CR0_TS)
