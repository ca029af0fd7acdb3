"""How the verifier's messages call things: arguments, registers, numbers. Knows no rules.

An "argno" names what is used as an operand (argno_t of kernel/bpf/verifier.c): 0 and more is a register's number, -k is
the k-th argument of the call at hand, which is a register up to 5 and a stack argument from 6 on.
"""

from bpf import isa

_DECIMAL_MAX = (1 << 16) - 1
_SIGNED_MIN, _SIGNED_MAX = -(1 << 15), (1 << 15) - 1


def argno_name(argno: int) -> str:
    """`R3`, or `*(R11-8)` for the sixth argument (reg_arg_name)."""
    if argno >= 0:
        return f"R{argno}"
    nth = -argno
    return f"R{nth}" if nth <= isa.MAX_REG_ARGS else f"*(R11-{8 * (nth - isa.MAX_REG_ARGS)})"


def tnum_text(value: int, mask: int) -> str:
    """Known bits: a number where all are known, `(value; mask)` elsewhere (tnum_strn)."""
    if mask:
        return f"({value:#x}; {mask:#x})"
    signed = isa.sext(value, 64)
    if 0 <= value <= _DECIMAL_MAX or _SIGNED_MIN <= signed <= _SIGNED_MAX:
        return str(signed)
    return f"{value:#x}"
