"""What the kernel's own test programs put into maps before a run: the objects alone do not say it.

Source: init_test_val_map() of tools/testing/selftests/bpf/prog_tests/verifier.c.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from bpf.program import Program

# struct test_val: an index, 28, and 11 numbers, of which the seventh is 0xabcdef12; 48 bytes
_VALUE: Final = (28).to_bytes(4, "little") + bytes(24) + (0xABCDEF12).to_bytes(4, "little") + bytes(16)
_PRESETS: Final = {
    ("verifier_array_access", "map_array_ro"): _VALUE,
    ("verifier_value_ptr_arith", "map_array_48b"): _VALUE,
}


def with_presets(program: Program, file: str) -> Program:
    """The program with what its object's test puts under key 0 of a map."""
    name = Path(file).name.split(".")[0]
    maps = [
        replace(spec, elems=(*spec.elems, (bytes(4), _PRESETS[name, spec.name])))
        if (name, spec.name) in _PRESETS
        else spec
        for spec in program.maps
    ]
    return replace(program, maps=tuple(maps))
