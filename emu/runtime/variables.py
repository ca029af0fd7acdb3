"""Variables of the kernel that a program refers to: where they lie, all bytes zero.

Knows one CPU: a per-CPU variable lies where its address says, in both engines.
"""

from bpf import isa
from bpf.errors import InputError
from bpf.kernelvars import KERNEL_VARS
from bpf.program import Program
from emu.runtime.memory import ARENAS, Memory, Region

POOL = "variables"
_ALIGN = 64


def places(program: Program) -> dict[int, int]:
    """The address of each variable that a program names, by its number. Numbers that name none are not in it."""
    base, size = ARENAS[POOL]
    at = base
    found: dict[int, int] = {}
    for insn in program.insns:
        if insn.code == isa.LD_IMM64 and insn.src == isa.PSEUDO_BTF_ID and insn.imm not in found:
            one = KERNEL_VARS.get(insn.imm)
            if one is not None:
                if at + one.size > base + size:
                    raise InputError(program.name, f"variable {one.name}", "there is no room for so many")
                found[insn.imm] = at
                at += -(-(one.size + 8) // _ALIGN) * _ALIGN
    return found


def create(program: Program, memory: Memory) -> dict[int, int]:
    """Objects for all variables that the program names; their addresses by number."""
    found = places(program)
    pool = memory.arenas[POOL]
    for number, addr in found.items():
        one = KERNEL_VARS[number]
        at = addr - pool.base
        pool.used = max(pool.used, at + one.size)
        memory.add(
            Region(addr, one.size, "variable", one.name, pool.view[at : at + one.size], writable=False)
        )
    return found


def symbols(program: Program) -> dict[str, int]:
    """The addresses by name."""
    return {KERNEL_VARS[number].name: addr for number, addr in places(program).items()}
