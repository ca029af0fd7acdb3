"""A file of native code that stands in for our JIT's: read when the program is known, and told about afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass

from bpf.verified import Verified
from emu.against.read import listing
from emu.foreign.make import Made, image_of
from jit.image import Image
from jit.profile import Profile


@dataclass(slots=True)
class Theirs:
    """file: holds the code. symbols: names by address. profile: of our code to compare with, None for any."""

    file: str
    symbols: Mapping[int, str]
    profile: Profile | None = None
    kind: str = ""
    made: Made | None = None

    def make(self, verified: Verified) -> Image:
        """The image of a program. Raises InputError."""
        found = listing(self.file, verified.program.name)
        self.kind = found.kind
        self.made = image_of(verified, found, symbols=self.symbols, profile=self.profile)
        return self.made.image

    def lines(self) -> list[str]:
        """What a person is told of the code; nothing where it was not read."""
        made = self.made
        if made is None:
            return []
        count = len(made.image.functions)
        head = f"{self.file} ({self.kind}, {count} function{'s' if count > 1 else ''}): "
        if made.equal == count:
            return [f"{head}the code that bpfemu emits (profile {made.profile}), addresses apart"]
        frames = sum(function.prologue == 0 for function in made.image.functions)
        out = [head + f"{made.mapped} of {made.insns} native instructions have their BPF instruction"]
        if frames:
            out.append(f"{frames} of {count} functions have a frame unlike the kernel's (docs/foreign.md)")
        if count < len(made.image.verified.subprogs):
            out.append("where its functions begin is not known: calls between them are not looked at")
        converted = len(made.image.verified.converted)
        if converted:
            out.append(
                f"{converted} context accesses are those of UAPI structures here, and of a kernel's own there (docs/fidelity.md)"
            )
        return out

    def as_json(self) -> dict[str, object]:
        """The same as an object."""
        made = self.made
        if made is None:
            return {"file": self.file}
        return {
            "file": self.file,
            "kind": self.kind,
            "functions": len(made.image.functions),
            "equal": made.equal,
            "alike": made.alike,
            "profile": made.profile or None,
            "insns": made.insns,
            "mapped": made.mapped,
            "kernel_frames": sum(function.prologue > 0 for function in made.image.functions),
            "converted": sorted(made.image.verified.converted),
        }
