"""JITs with a known fault, each made of the example by changing one of its numbers."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

TINYJIT = Path(__file__).parents[2] / "examples" / "tinyjit.py"
# name -> (what stands in the example, what stands there instead)
FAULTS = {
    "argument 12 over argument 11": ("-off - 16)", "min(-off - 16, 32))"),
    "argument 6 of the caller's own": ('self.put("4c 8b 8d", -ARG6_OUT)', 'self.put("4c 8b 8d", -ARG6_IN)'),
    "outgoing area forgotten": ('8 * max(function["out_stack_args"] - 1, 0)', "0"),
    "rsp not restored": ('self.put("c9 c3")', 'self.put("5d c3")'),
    "unsigned for signed division": ('"f9") if off', '"f1") if off'),
    "difference in the wrong register": ('0x10: "29 c8"', '0x10: "29 c1"'),
    "rbx as scratch": ('self.put("55 48 89 e5 48 81 ec"', 'self.put("55 48 89 e5 31 db 48 81 ec"'),
}


def tinyjit(fault: str = "") -> ModuleType:
    """The example, or what a fault makes of it."""
    text = TINYJIT.read_text(encoding="utf-8")
    if fault:
        right, wrong = FAULTS[fault]
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    spec = importlib.util.spec_from_loader(f"tinyjit{len(fault)}", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(text, str(TINYJIT), "exec"), module.__dict__)
    return module


def jit(fault: str = "") -> Callable[[dict[str, Any]], object]:
    found: Callable[[dict[str, Any]], object] = tinyjit(fault).compile_job
    return found


if __name__ == "__main__":
    answer = jit(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
