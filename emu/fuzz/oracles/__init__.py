"""Who judges: each oracle looks at a finished `Case` (emu.pipeline) and knows no generator.

An oracle is a function of an `Exam`; it yields what it finds, the most telling first, and nothing when all is well. It
may run an engine of its own (the soundness check does), but it never changes the case. The kind of a finding names
what is wrong without any value in it, so that the same fault has the same kind in every program.

| oracle | what holds | how often |
|---|---|---|
| engines | interpreter and sandbox agree, and no convention is broken | every case |
| accepted | what the verifier accepts runs without a trap, and the JIT compiles it | every case |
| sound | every concrete state lies inside what the verifier knew there | every case |
| jit | native code is a function of the program; it depends on its place in its relocations only; these are right | every case, disassembled in thorough ones |
| codec | bytes, text in three styles, `.bpf` files and JSON requests hold the same program | bytes always, text and JSON in thorough cases |
| strict | strict mode only refuses more, for its documented reasons, and changes nothing else | thorough cases |
"""

from emu.fuzz.oracles import accepted, codec, engines, jit, sound, strict
from emu.fuzz.oracles.exam import Exam, Oracle

ORACLES: dict[str, Oracle] = {
    "engines": engines.judge,
    "accepted": accepted.judge,
    "sound": sound.judge,
    "jit": jit.judge,
    "codec": codec.judge,
    "strict": strict.judge,
}

__all__ = ["ORACLES", "Exam", "Oracle"]
