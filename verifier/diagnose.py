"""Writes the explaining block of a refusal: finds its row (verifier/reasons.py) and fills it in from the state at hand.

Names in a row's texts: {insn} {function} {first} {last} {end}: where in the program; {pointer} {plain} {outside} {keep}:
the pointer of an arithmetic instruction; {call} {helper} {argument} {wanted} {scalar} {constant} {type} {target}: the call
and its argument. Source: kernel/bpf/diagnostics.c and its callers.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bpf import isa
from verifier import reasons, regs
from verifier.blocks import BlockWriter, filled
from verifier.history import reg_place
from verifier.num import Num
from verifier.reasons import Row
from verifier.regs import SCALAR_VALUE, Reg
from verifier.report import Code, Report, is_unbounded, plain_text, range_text
from verifier.statelog import reg_type_str
from verifier.wording import argno_name

if TYPE_CHECKING:
    import re


_ORDINALS: Final = (
    "", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth",
)  # fmt: skip
_MAX_VAR_OFF: Final = 1 << 29


class MemAccess(NamedTuple):
    """An access that may be outside its object: argno as in verifier/wording.py, sizes in bytes."""

    reg: Reg
    argno: int
    off: int
    size: int
    mem_size: int


class Callee(NamedTuple):
    """A function or kfunc that lacks an argument; params: names of its parameters where they count."""

    name: str
    params: tuple[str, ...] = ()


About = MemAccess | Callee | None


def structure_block(code: Code, message: str, insn: int | None) -> str:
    """The block of a refusal before the main pass; "" where it has none."""
    found = reasons.row_for(message)
    if found is None or insn is None or found[0].shape != reasons.STRUCTURE:
        return ""
    row, match = found
    function = next((f for f in code.functions if f.start <= insn < f.end), code.functions[0])
    names = {
        "insn": insn,
        "function": function.index,
        "first": function.start,
        "last": function.end - 1,
        "end": len(code.insns) - 1,
    }
    report = Report(code, row.shape, row.problem)
    report.reason(filled(row.reason, match, names))
    report.section("At")
    report.at(insn, "error", row.problem)
    report.suggestion(row.suggestion)
    return report.text()


class Diagnosis(BlockWriter):
    """Explains the refusals of one verification. history: what happened on the path so far."""

    def block(self, message: str, about: About) -> str:
        """The block for a refusal of the current instruction; "" where it has none."""
        found = reasons.row_for(message)
        if found is None:
            return ""
        row, match = found
        shape = _SHAPES.get(row.shape)
        if shape is None:
            return structure_block(self._code(), message, self.env.insn_idx)
        return shape(self, row, match, about)

    def leak(self, ref: int, acquired: int) -> str:
        """The block for a reference that is still held at an exit."""
        report = self._report(reasons.RESOURCES, "unreleased resource")
        held = f"wned resource (id={ref})"
        report.reason(
            f"O{held} was acquired at instruction {acquired} and still needs to be released before this exit path."
        )
        self._at(report, f"o{held} still needs release")
        report.path(self.history.of_reference(ref))
        report.suggestion(
            "Release or transfer ownership of the acquired resource on every path before the program exits."
        )
        return report.text()

    def call_argument(self, argno: int, reason: str, suggestion: str) -> str:
        """The block for argument 1, 2, ... of the call at hand."""
        name = argno_name(argno) if argno <= isa.MAX_REG_ARGS else argno_name(-argno)
        described = f"{_ORDINALS[argno]} argument ({name})"
        call = self._callee()
        report = self._report(reasons.CALLS, "invalid call argument")
        report.reason(f"The {described} to {call} does not satisfy the verifier contract: {reason}.")
        self._at(report, f"invalid {described} for {call}")
        if argno <= isa.MAX_REG_ARGS:
            report.path(self.history.of_value(reg_place(self.env.func, argno)))
        else:
            self._argument_path(report, argno - isa.MAX_REG_ARGS - 1)
        report.suggestion(suggestion)
        return report.text()

    def fixed_memory(self, argno: int, size: int, reg: Reg, *, unknown: bool) -> str:
        """The block for an argument of a kfunc that should be memory of a type. unknown: it is no memory at all."""
        target = self._kfunc_names(argno)["target"]
        expects = f"the kfunc expects {size} bytes of memory for {target}, but"
        if unknown:
            return self.call_argument(
                argno,
                f"{expects} it is {plain_text(reg.type)} and not verifier-known memory",
                "Pass stack, map, context, or other verifier-known memory of the expected type and size, not an integer"
                " cast to a pointer.",
            )
        return self.call_argument(
            argno,
            f"{expects} the verifier cannot prove that {plain_text(reg.type)} provides a readable and writable range of"
            " that size",
            "Pass memory with at least the required number of accessible bytes and suitable read and write access.",
        )

    def memory_and_length(self, argno: int, length: Num, message: str) -> str:
        """The block for memory and the length behind it; message: what was said of them. "" where it has none."""
        memory, size = (argno_name(n if n <= isa.MAX_REG_ARGS else -n) for n in (argno, argno + 1))
        if "invalid zero-sized read" in message:
            return ""
        if "use unsigned or 'var &= const'" not in message and "use 'var &= const'" not in message:
            return self.call_argument(
                argno,
                f"it is the memory pointer in a memory/length pair with {size}, but {memory} does not describe"
                " verifier-readable memory for the requested length",
                "Pass a stack, map, context, or other verifier-known memory pointer, and keep the paired length within"
                " that object.",
            )
        if length.smin < 0:
            what = f"may be negative because its signed minimum is {length.smin}"
        else:
            what = f"may reach {length.umax} bytes, but variable memory accesses must stay below {_MAX_VAR_OFF} bytes"
        return self.call_argument(
            argno + 1,
            f"the memory size in {size} {what}",
            "Constrain the memory size to a non-negative value smaller than BPF_MAX_VAR_SIZ before this call.",
        )

    # ---- shapes

    def _plain_shape(self, row: Row, match: "re.Match[str]", about: About) -> str:
        del about
        report = self._report(row.shape, row.problem)
        report.reason(filled(row.reason, match, {}))
        self._at(report, row.problem)
        report.suggestion(row.suggestion)
        return report.text()

    def _arithmetic(self, row: Row, match: "re.Match[str]", about: About) -> str:
        del about
        env = self.env
        insn = env.insns[env.insn_idx]
        number = insn.src if env.regs[insn.dst].type == SCALAR_VALUE else insn.dst
        pointer = env.regs[number]
        plain = plain_text(pointer.type)
        safe = f"safe{{}}range [-{_MAX_VAR_OFF}, {_MAX_VAR_OFF}] for {plain}."
        if _is_outside(pointer.num):
            outside = f"R{number} already has an offset outside the verifier's {safe.format(' ')}"
            keep = "Keep the base pointer within the verifier's allowed offset range before applying more arithmetic."
        else:
            outside = f"After this arithmetic, R{insn.dst} would be outside the verifier's {safe.format(' offset ')}"
            keep = "Tighten the scalar bounds before the arithmetic so the resulting pointer remains within the allowed range."
        names = {"pointer": number, "plain": plain, "outside": outside, "keep": keep}
        report = self._report(row.shape, row.problem)
        report.reason(filled(row.reason, match, names))
        self._at(report, row.problem)
        self._path(report, reg_place(env.func, number))
        report.suggestion(filled(row.suggestion, match, names))
        return report.text()

    def _deref(self, row: Row, match: "re.Match[str]", about: About) -> str:
        del row, about
        name = match.group(1)
        reg, number = self._place(name)
        plain = plain_text(reg.type)
        report = self._report(reasons.REGISTERS, "invalid dereference")
        nullable = reg.type & regs.PTR_MAYBE_NULL
        if reg.type == SCALAR_VALUE:
            report.reason(f"{name} is an integer scalar here, not a pointer to memory.")
        elif nullable:
            report.reason(
                f"{name} may be NULL here ({plain}). The program could dereference NULL on this path, so the verifier"
                " cannot prove this access is safe."
            )
        else:
            report.reason(f"{name} has type {plain} here, which is not valid for this memory access.")
        self._at(report, f"invalid dereference of {name} ({plain})")
        if number >= 0:
            self._path(report, reg_place(self.env.func, number))
        if nullable:
            report.suggestion(
                "Add a NULL check before the access and dereference the pointer only on the non-NULL path."
            )
        else:
            report.suggestion(
                "Preserve a pointer-valued register where needed, or reload and revalidate the pointer after scalar"
                " arithmetic, helper calls, or other operations that can invalidate it."
            )
        return report.text()

    def _modified(self, row: Row, match: "re.Match[str]", about: About) -> str:
        del row, about
        name, offset = match.groups()
        reg, number = self._place(name)
        report = self._report(reasons.REGISTERS, "invalid dereference")
        report.reason(
            f"{name} has offset {offset} here, but this pointer type must be dereferenced in its original form."
        )
        self._at(report, f"dereference requires the original {plain_text(reg.type)} pointer")
        if number >= 0:
            self._path(report, reg_place(self.env.func, number))
        report.suggestion(
            "Preserve the original pointer in another register, or use only offsets this pointer type permits before"
            " dereferencing it."
        )
        return report.text()

    def _unreadable(self, row: Row, match: "re.Match[str]", about: About) -> str:
        del row, about
        number = int(match.group(1))
        place = reg_place(self.env.func, number)
        last = self.history.last_change(place)
        lost = last is not None and (last.new is None or last.new.type == regs.NOT_INIT)
        report = self._report(reasons.REGISTERS, "unreadable register")
        end = "so the verifier cannot use it as an input."
        if lost:
            report.reason(
                f"R{number} is not readable here. A previous operation invalidated this register, {end}"
            )
        else:
            report.reason(f"R{number} has never been initialized on this path, {end}")
        self._at(report, f"R{number} is not readable")
        self._path(report, place)
        if lost:
            report.suggestion(
                "Avoid using the register after it is invalidated, or initialize it again before this instruction."
            )
        else:
            report.suggestion(f"Initialize R{number} on every path before this instruction.")
        return report.text()

    def _missing(self, row: Row, match: "re.Match[str]", about: About) -> str:
        del row
        callee = about if isinstance(about, Callee) else Callee("")
        count, slot = int(match.group(1)), int(match.group(2)) - 1
        argno = isa.MAX_REG_ARGS + slot + 1
        name = callee.params[argno - 1] if argno <= len(callee.params) else ""
        parts = [f"{_ORDINALS[argno]} argument"] if argno < len(_ORDINALS) else []
        parts += [name] if name else []
        named = f" ({', '.join(parts)})" if parts else ""
        what = f"outgoing stack argument {slot + 1}{named}"
        who = f"Function {callee.name}" if callee.name else "The callee"
        report = self._report(reasons.REGISTERS, "missing stack argument")
        report.reason(f"{who} expects {count} arguments, but {what} is not initialized at this call.")
        self._at(report, f"{what} is not initialized")
        self._argument_path(report, slot)
        report.suggestion(
            "Write the outgoing stack argument after any operation that may invalidate stored pointer values, and"
            " before making this call."
        )
        return report.text()

    def _bounds(self, row: Row, match: "re.Match[str]", about: About) -> str:
        if not isinstance(about, MemAccess):
            return ""
        reg, argno, off, size, mem_size = about
        num = reg.num
        names = {
            "start": _sum_text(num.smin, off),
            "size": mem_size,
            "umax": num.umax,
            "high": num.umax + off,
            "end": num.umax + off + size,
            "bytes": size,
        }
        proof = filled(row.reason, match, names)
        report = self._report(reasons.MEMORY, "access outside bounds")
        report.reason(
            f"The verifier cannot prove offset + access_size <= object_size. Here, {proof}."
            f" {argno_name(argno)} is {reg_type_str(reg.type)}; offset is {_offset_text(num, off)};"
            f" access_size is {size}; object_size is {mem_size}."
        )
        self._at(report, "access may be outside object bounds")
        regno = argno if argno >= 0 else -argno
        if argno >= -isa.MAX_REG_ARGS:
            self._path(report, reg_place(self.env.func, regno))
        report.suggestion(
            "Add or adjust a bounds check that proves offset + access_size stays within the object."
        )
        return report.text()

    def _argument(self, row: Row, match: "re.Match[str]", about: About) -> str:
        del about
        insn = self.env.insns[self.env.insn_idx]
        if "kfunc" in row.reason and insn.src != isa.PSEUDO_KFUNC_CALL:
            return ""
        name = match.group(1)
        reg, number = self._place(name)
        argno = number if number >= 0 else isa.MAX_REG_ARGS + int(name[6:-1]) // 8
        names = {"argument": plain_text(reg.type), **self._kfunc_names(argno)}
        reason = filled(row.reason, match, names)
        return self.call_argument(argno, reason, filled(row.suggestion, match, names))

    def _kfunc_names(self, argno: int) -> dict[str, str]:
        env = self.env
        names = {
            "wanted": "an integer scalar",
            "scalar": "Pass an integer scalar value for this argument, not a pointer or resource object.",
            "constant": "scalar argument",
            "type": "",
            "target": "",
        }
        proto = env.kfuncs.get(env.insn_idx)
        if proto is None or argno > len(proto.params):
            return names
        param = proto.params[argno - 1]
        if param.name.endswith(("__sz", "__szk")):
            names["wanted"] = "a scalar memory size"
            names["scalar"] = "Pass an integer scalar length for this memory argument."
            names["constant"] = "memory size"
        names["type"] = f"({param.type})"
        names["target"] = "(struct bpf_map)" if param.name.endswith("__map") else f"({param.type.to})"
        return names

    def _policy(self, row: Row, match: "re.Match[str]", about: About) -> str:
        del about
        imm = self.env.insns[self.env.insn_idx].imm
        operation = filled(row.problem, match, {"helper": f"{self._callee()}#{imm}"})
        report = self._report(reasons.POLICY, "operation is not allowed")
        report.reason(f"The {operation} is not allowed: {row.reason}.")
        self._at(report, f"policy check failed for {operation}")
        report.suggestion(row.suggestion)
        return report.text()


def _is_outside(num: Num) -> bool:
    value = num.smin if num.mask else num.signed_value
    return not -_MAX_VAR_OFF < value < _MAX_VAR_OFF


def _sum_text(value: int, off: int) -> str:
    total = value + off
    if -(1 << 63) <= total < 1 << 63:
        return str(total)
    return f"{value} plus {off} ({'below S64_MIN' if off < 0 else 'above S64_MAX'})"


def _offset_text(num: Num, off: int) -> str:
    if not num.mask:
        return f"constant {_sum_text(num.signed_value, off)}"
    if is_unbounded(num):
        return "unbounded"
    fixed = f", plus fixed offset {off}" if off else ""
    return f"variable: known bits {num.value:#x}, unknown mask {num.mask:#x}{fixed}; {range_text(num)}"


_Shape = Callable[[Any, Row, "re.Match[str]", About], str]
_SHAPES: Final[dict[str, _Shape]] = {
    reasons.REGISTERS: Diagnosis._arithmetic,  # noqa: SLF001 # its own
    reasons.MEMORY: Diagnosis._plain_shape,  # noqa: SLF001
    reasons.RESOURCES: Diagnosis._plain_shape,  # noqa: SLF001
    reasons.CALLS: Diagnosis._argument,  # noqa: SLF001
    reasons.POLICY: Diagnosis._policy,  # noqa: SLF001
    "deref": Diagnosis._deref,  # noqa: SLF001
    "modified": Diagnosis._modified,  # noqa: SLF001
    "unreadable": Diagnosis._unreadable,  # noqa: SLF001
    "missing": Diagnosis._missing,  # noqa: SLF001
    "bounds": Diagnosis._bounds,  # noqa: SLF001
    "forbidden": Diagnosis._forbidden,  # noqa: SLF001
    "active": Diagnosis._active,  # noqa: SLF001
    "required": Diagnosis._required,  # noqa: SLF001
    "underflow": Diagnosis._underflow,  # noqa: SLF001
    "irq": Diagnosis._irq,  # noqa: SLF001
    "lock": Diagnosis._lock,  # noqa: SLF001
}
