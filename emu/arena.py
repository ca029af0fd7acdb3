"""Which instructions of a program go through its arena: types tell, so the verifier has to be asked."""

from bpf.program import Program
from bpf.verified import Verified
from emu.runtime.maps_arena import arena_of
from verifier import verify


def in_arena(program: Program) -> frozenset[int]:
    """As `Verified.in_arena`; none where the program has no arena, or is refused."""
    if arena_of(program) is None:
        return frozenset()
    verdict = verify(program, log_level=0)
    return verdict.in_arena if isinstance(verdict, Verified) else frozenset()
