"""What a rule's program is made of, before it is put together: text, in the format of docs/text-format.md."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emu.fuzz.generators.draw import Draw


@dataclass(frozen=True, slots=True)
class Recipe:
    """main: lines of the main function, which is given the context in r1. functions: whole others, headers and all.

    prog_type: the kernel's name. maps: names of maps of `near.MAPS`. quiet: nothing may be put in front of it.
    words: what the first words of the array are to be, modulo 2**64; the others are drawn. frequent: a verifier is asked to keep more
    states than it would (BPF_F_TEST_STATE_FREQ). jumps: instructions of the main function that the jump table `jumps` names;
    thawed: user space may still change it.
    """

    main: str
    functions: tuple[str, ...] = ()
    prog_type: str = "sched_cls"
    maps: tuple[str, ...] = ("values",)
    quiet: bool = False
    words: tuple[int, ...] = ()
    frequent: bool = False
    jumps: tuple[int, ...] = ()
    thawed: bool = False


# A program on one side of a rule's border: inside, where the rule holds, or outside.
Maker = Callable[[Draw, bool], Recipe]


class Rules:
    """Makers by name."""

    def __init__(self) -> None:
        self._makers: dict[str, Maker] = {}

    def __call__(self, name: str) -> Callable[[Maker], Maker]:
        """A decorator: the function makes programs for this rule."""

        def add(maker: Maker) -> Maker:
            self._makers[name] = maker
            return maker

        return add

    def __iter__(self) -> Iterator[tuple[str, Maker]]:
        return iter(self._makers.items())


def number(reg: str, at: int = 0) -> str:
    """reg = a number of 64 bits that nothing is known of. Overwrites r0."""
    return f"r0 = map[values][0]+{8 * at}\n{reg} = *(u64 *)(r0 +0)"


def arguments(first: int = 1, last: int = 5) -> str:
    """r1 to r5 hold numbers."""
    return "\n".join(f"r{at} = {at}" for at in range(first, last + 1))


def slots(count: int, without: int = -1) -> str:
    """Stores of `count` stack arguments, but for one."""
    return "\n".join(f"*(u64 *)(r11 -{8 * (at + 1)}) = {60 + at}" for at in range(count) if at != without)


def letters(count: int, kind: str = "u64") -> str:
    """Parameters a, b, c, ..."""
    return ", ".join(f"{kind} {letter}" for letter in "abcdefghijkl"[:count])


def function(count: int, lines: str = "", *, name: str = "f") -> str:
    """A static function with so many numbers as parameters, that sums its stack arguments behind `lines`."""
    loads = "\n".join(
        f"r{2 + at % 4} = *(u64 *)(r11 +{8 * (at + 1)})\nr0 += r{2 + at % 4}" for at in range(count - 5)
    )
    return f"static u64 {name}({letters(count)}):\nr0 = 1\n{loads}\n{lines}\nexit"
