"""`make compiled`: turns the verifier's innermost modules into C, in place. Not part of the package, and never needed.

The Python files stay the only source. Other modules are left out: their data flow loops rely on the identity of tuples, which mypyc
does not keep.
"""

from mypyc.build import mypycify
from setuptools import setup

HOT = (
    "tnum", "cnum", "num", "casts", "division", "arith", "refine", "regs", "state", "links", "compare", "clean",
    "cycles", "prune", "backtrack", "precision",
)  # fmt: skip

if __name__ == "__main__":
    setup(
        name="bpfemu",
        packages=[],
        py_modules=[],
        ext_modules=mypycify([f"verifier/{name}.py" for name in HOT], opt_level="1", debug_level="0"),
    )
