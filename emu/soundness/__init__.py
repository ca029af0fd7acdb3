"""Soundness checked by execution: every concrete state of a run lies inside what the verifier knew there.

| module | what |
|---|---|
| check.py | a program and its inputs to a `Breach`, or to none |
| follow.py | goes along the verifier's graph of states while the interpreter runs |
| loose.py | numbers that pruning let go of, because nothing depends on them |
| contain.py | the relation: a concrete value is one that an abstract one means |
| inputs.py | the request's own runs, and seeded random ones |

docs/soundness.md has the argument.
"""

from emu.soundness.check import Breach, Checked, check, check_recorded

__all__ = ["Breach", "Checked", "check", "check_recorded"]
