"""The activations of a program that stands still, and whose each word of the stack is."""

from collections.abc import Iterator
from dataclasses import dataclass

from emu.gdb.target import Target
from emu.sandbox import addresses
from emu.sandbox.checks import SAVED_REGISTERS
from emu.sandbox.debug import CALLING, STUBS_END
from emu.sandbox.stubs import WORDS
from jit.frame import RETURN_ADDRESS, WORD, Moment
from jit.image import Image, Layout
from jit.picture import incoming
from jit.regmap import CALLEE_SAVED
from jit.unwind import Activation, unwind
from jit.x64.registers import NAMES64

_BPF_NAME = {NAMES64[reg]: f"r{number}" for number, reg in CALLEE_SAVED}
_DEEPEST = 512
CALLBACK_CFA = WORD * (
    len(SAVED_REGISTERS) + WORDS + 1
)  # CFA - rsp of a stub while its callback is under way


@dataclass(frozen=True, slots=True)
class Level:
    """A function of the program that is under way, of one of the images."""

    image: Image
    activation: Activation

    @property
    def name(self) -> str:
        """Of the function."""
        return self.image.functions[self.activation.number].name


def levels(target: Target) -> Iterator[Level]:
    """From the innermost function outwards, through helpers that call back; none where the place is unknown."""
    machine = target.machine
    now = {name: machine.register(name) for name in ("rip", "rsp", *SAVED_REGISTERS)}

    def word(addr: int) -> int:
        return int.from_bytes(target.memory(addr, WORD).ljust(WORD, b"\0"), "little")

    for _ in range(_DEEPEST):
        stub = now["rip"] - addresses.STUBS
        if 0 <= stub < STUBS_END - addresses.STUBS:
            if stub % addresses.STUB_SIZE == CALLING:
                now["rsp"] += CALLBACK_CFA - WORD
                now |= {reg: word(now["rsp"] - WORD * at) for at, reg in enumerate(SAVED_REGISTERS, 1)}
            now["rip"] = word(now["rsp"])
            now["rsp"] += WORD
            continue
        image, layout = _image_at(target, now["rip"] - 1) or _image_at(target, now["rip"]) or (None, None)
        if image is None or layout is None:
            return
        last: Activation | None = None
        for last in unwind(image, layout, now, word):
            yield Level(image, last)
        if last is None:
            return
        now = {**last.registers, "rsp": last.cfa}
        now |= {reg: word(last.address(at)) for reg, at in last.moment.cfi.saved.items()}


def _image_at(target: Target, addr: int) -> tuple[Image, Layout] | None:
    function = target.engine.code.function_at(addr)
    if (
        function is None
        or function.image is None
        or not function.image.functions[function.number].frame.moves
    ):
        return None
    same = {one.number: one.addr for one in target.engine.code.functions if one.image is function.image}
    return function.image, Layout(tuple(same[number] for number in sorted(same)), {})


def words(level: Level) -> Iterator[tuple[int, str]]:
    """Address and owner of each word of a frame, from its arguments down to rsp."""
    active = level.activation
    moment = active.moment
    names = incoming(level.image.verified, active.number)
    owners = _owners(moment, level.image.functions[active.number].frame.stack_depth)
    for number, spot in moment.incoming.items():
        owners[spot.cfa] = f"argument {number}, incoming  {names.get(number, '')}".rstrip()
    top = max([0, *(at + WORD for at in owners)])
    for at in range(top - WORD, -moment.depth - WORD, -WORD):
        yield active.address(at), owners.get(at, "")


def _owners(moment: Moment, stack_depth: int) -> dict[int, str]:
    """What each word below the CFA is, by its offset."""
    owners = {RETURN_ADDRESS: "return address"}
    if moment.stack is not None:
        for at in range(0, stack_depth, WORD):
            owners[moment.stack.cfa + at] = f"program stack, r10-{stack_depth - at}"
    if moment.counts is not None:
        owners[moment.counts.cfa + WORD] = "tail-call count"
        owners[moment.counts.cfa] = "pointer to the tail-call count"
    for reg, spot in moment.saved.items():
        owners[spot.cfa] = f"saved {reg} ({_BPF_NAME[reg]})" if reg in _BPF_NAME else f"saved {reg}"
    for number, spot in moment.outgoing.items():
        owners[spot.cfa] = f"argument {number}, outgoing"
    for reg, spot in moment.temporaries.items():
        owners[spot.cfa] = f"{reg}, for a while"
    return owners
