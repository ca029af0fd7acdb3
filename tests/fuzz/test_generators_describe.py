"""What `fuzz --describe` counts: of one program to the last instruction, of a generator in sum."""

import io

from rich.console import Console

from bpf import asm
from emu.fuzz.describe import Counts, describe, look_at
from emu.fuzz.describe_text import print_description

_TEXT = """
prog type sched_cls license GPL
int main(struct __sk_buff *ctx):
    r6 = 1
    *(u64 *)(r10 -24) = 5
    r2 = r10
    r2 += -40
    *(u64 *)(r11 -8) = r6
    r1 = 1
    call f
    exit
static u64 f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 g):
    r7 = *(u64 *)(r11 +8)
    call bpf_ktime_get_ns
    call okf_count
    exit
"""


def test_one_program() -> None:
    counts = Counts("text")
    look_at(asm.parse(_TEXT, "text").program, counts)
    assert counts.sizes == [12]
    assert counts.functions == {6: 1}
    assert counts.kfuncs == {0: 1}
    assert counts.callees == {"okf_count": 1, "helper 5": 1}
    assert counts.depths == {2: 1}
    assert counts.saved == {"r6": 1, "r7": 1}
    assert counts.stacks == {40: 1, 0: 1}
    assert counts.forms["ldx_arg"] == counts.forms["stx_arg"] == counts.forms["st_dw"] == 1
    assert (counts.writes[7], counts.reads[7]) == (1, 0)
    assert "ldx_arg" not in counts.never
    assert "atomic64_xchg" in counts.never


def test_generators_in_sum() -> None:
    made = describe(["calls", "near"], 1, 12)
    assert [counts.cases for counts in made.counts] == [12, 12]
    for counts in made.counts:
        assert counts.accepted + sum(counts.reasons.values()) == counts.cases == len(counts.sizes)
        assert set(counts.examples) == set(counts.reasons)
    answer = made.as_json()
    assert answer == describe(["calls", "near"], 1, 12).as_json()
    out = io.StringIO()
    print_description(Console(file=out, width=160), made)
    text = out.getvalue()
    assert "near, seed 1" in text
    assert "never: " in text
    assert "rule:" in text
