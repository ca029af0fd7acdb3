"""Which x86 register a BPF register is, and the registers the JIT keeps for itself.

    R0 R1  R2  R3  R4  R5 R6  R7  R8  R9  R10 AX
    rax rdi rsi rdx rcx r8 rbx r13 r14 r15 rbp r10      r11 scratch, r9 argument 6, r12 arena base

Source: section D.1 of the convention, reg2hex of arch/x86/net/bpf_jit_comp.c.
"""

from typing import Final

from bpf import isa
from jit.x64 import registers as x

# r11 (isa.REG_PARAMS) is no register: it has no entry that could be used by mistake.
NO_REG: Final = -1
REGMAP: Final = (x.RAX, x.RDI, x.RSI, x.RDX, x.RCX, x.R8, x.RBX, x.R13, x.R14, x.R15, x.RBP, NO_REG, x.R10)
PRIVATE_REGMAP: Final = (*REGMAP[: isa.FP], x.R9, *REGMAP[isa.FP + 1 :])

AUX: Final = x.R11  # scratch inside one BPF instruction
AX: Final = x.R10  # BPF_REG_AX; scratch too where fixups do not use it
ARG6: Final = x.R9
ARENA: Final = x.R12
FP: Final = x.RBP

# Callee-saved registers that BPF uses, in push order: (BPF register, x86 register).
CALLEE_SAVED: Final = ((6, x.RBX), (7, x.R13), (8, x.R14), (9, x.R15))
