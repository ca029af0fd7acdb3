"""The stages of a program with a JIT that is not ours in the place of ours."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bpf import isa
from bpf.errors import InputError
from bpf.program import Program, Request
from bpf.verified import Verified
from emu.external.job import Place, answer, job, names
from emu.foreign import layout_of, linked
from emu.pipeline import ENGINES, Case, Options, Pipeline
from emu.runtime.world import World
from emu.sandbox import Machine
from jit.image import Image, Layout
from verifier.recorder import Recorder

Jit = Callable[[dict[str, Any]], object]


class NotTakenError(InputError):
    """The JIT says that it does not take such programs."""


class JitFailedError(InputError):
    """The JIT raised an exception, ended, or gave an answer that is none."""


class JitPipeline(Pipeline):
    """jit: answers a job (docs/your-jit.md). name: what to call it. What it does not take, or fails at, is `Case.error`."""

    def __init__(self, jit: Jit, name: str, options: Options | None = None) -> None:
        super().__init__(options)
        self._jit = jit
        self._name = name

    def run(
        self,
        request: Request,
        others: Mapping[str, Program] | None = None,
        engines: tuple[str, ...] = ENGINES,
        recorder: Recorder | None = None,
        make: Callable[[Verified], Image] | None = None,
    ) -> Case:
        """As `Pipeline.run`, with what the JIT makes; its own faults come before those of later stages."""
        return super().run(request, others, engines, recorder, make or self._image)

    def _image(self, verified: Verified) -> Image:
        """What the JIT makes of it. Raises NotTakenError and JitFailedError."""
        if "bpf_throw" in names(verified):
            why = "is not taken: it throws, and unwinding follows a kernel's frames"
            raise NotTakenError(self._name, verified.program.name, why)
        place = self._layout(self.machine, verified)
        if self._layout(self.precise_machine, verified) != place:
            raise InputError(verified.program.name, "", "the two machines have things at different addresses")
        question = job(verified, Place(place.functions[0], place.symbols, place.maps, place.values))
        try:
            said = answer(self._jit(question), self._name, len(verified.subprogs), len(verified.insns))
            if not said.unsupported and len(said.starts) == 1 < len(verified.subprogs) and _passes(verified):
                said = replace(
                    said, unsupported="it passes a function's address, and nobody says where functions begin"
                )
            if not said.unsupported:
                return linked(verified, said.code, said.starts, said.offsets)
        except InputError as error:
            what = error.why if error.what == "JIT" else f"{error.where} {error.why}"
            raise JitFailedError(self._name, verified.program.name, what) from None
        except Exception as error:
            what = f"raises {type(error).__name__}: {' '.join(str(error).split())}"
            raise JitFailedError(self._name, verified.program.name, what) from error
        raise NotTakenError(self._name, verified.program.name, f"is not taken: {said.unsupported}")

    @staticmethod
    def _layout(machine: Machine, verified: Verified) -> Layout:
        world = World(verified.program, memory=machine.memory)
        return layout_of(machine, world, names(verified))


def _passes(verified: Verified) -> bool:
    """Whether the program takes the address of one of its functions."""
    return any(one.code == isa.LD_IMM64 and one.src == isa.PSEUDO_FUNC for one in verified.insns)
