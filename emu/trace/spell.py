"""What a number means at a step of a trace: a place in a frame, a function, poison. Knows no output."""

from emu.trace.trace import State, Trace

_STACK = 512


class Speller:
    """Puts names to numbers. One for a trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._names = trace.names
        self._ranges = [
            (one.addr, one.addr + sum(len(native.code) for native in one.natives), number)
            for number, one in enumerate(trace.functions)
        ]

    def reference(self, value: int) -> str:
        """Of a value in the reference interpreter, "" where it is just a number."""
        top, spacing = self._trace.stacks
        frame, off = divmod(top - value, spacing)
        if 0 <= frame < 64 and off <= _STACK:
            return _frame(frame, -off)
        return self._names.get(value, "")

    def sandbox(self, value: int, state: State) -> str:
        """Of a native value, "" where it is just a number."""
        if value in self._names:
            return self._names[value]
        for low, high, number in self._ranges:
            if low <= value < high:
                return (
                    f"{self._trace.functions[number].name}+{value - low:#x}{self._insn(number, value - low)}"
                )
        for activation, shape in reversed(state.frames):
            one = self._trace.activations[activation]
            low = one.cfa + min((row.off for row in self._trace.shapes[shape]), default=0)
            if low <= value <= one.cfa - 16:
                return _frame(one.frame, value - one.cfa + 16)
        return ""

    def _insn(self, number: int, off: int) -> str:
        function = self._trace.functions[number]
        at = next((one for one in reversed(function.natives) if one.off <= off), None)
        return "" if at is None or at.insn is None else f" (insn {at.insn})"


def _frame(frame: int, off: int) -> str:
    return f"fp{frame}{off:+d}" if off else f"fp{frame}"
