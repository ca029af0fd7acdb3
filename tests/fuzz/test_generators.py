"""Generators: what they promise about reproducibility, acceptance, text and coverage."""

import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from bpf import asm, exceptions
from bpf.btf_plain import lock_of
from bpf.errors import InputError
from bpf.isa import FP, MAX_FUNC_ARGS, ST, STX
from bpf.kfuncs import KFUNCS
from bpf.listing import disassemble
from bpf.maps import MapSpec
from bpf.opcodes import FORMS, form_of
from bpf.program import Program
from bpf.verified import Rejected
from emu.fuzz.generators import GENERATORS, make
from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.edit import Text
from emu.fuzz.generators.mutated import _offset as change_offset
from emu.fuzz.sample import Sample
from verifier import verify

_CASES = 120
_NAMES = sorted(GENERATORS)

# Tags of what programs of `calls` are to have.
_SHAPES = {
    "callback-by-way",
    "checkpoints",
    "exits",
    "flags-from-memory",
    "indexed",
    "lock",
    "loop",
    "map-pointer",
    "may_goto",
    "several-counts",
    "split-stores",
    "stack-arguments-in-catch",
    "stack-arguments-in-loop",
    "stack-pointer",
    "surplus-slot",
    "tail_call",
    "throw",
}


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Sample]]:
    return {name: [make(name, 1, number) for number in range(_CASES)] for name in _NAMES}


def _prototypes(program: Program) -> list[tuple[int, str, int]]:
    assert program.btf is not None
    return [
        (info.insn, str(program.btf.prototype(info.type_id)), program.btf.linkage(info.type_id))
        for info in program.func_info
    ]


def _maps(program: Program) -> list[tuple[MapSpec, int | None]]:
    """Maps, and where their values hold a lock, whatever the numbers of the types are that say so."""
    return [(replace(spec, btf_key=0, btf_value=0), lock_of(spec, program.btf)) for spec in program.maps]


def _accepted(sample: Sample, mode: str = "kernel") -> bool:
    return not isinstance(verify(sample.request.program, log_level=0, mode=mode, insn_limit=20_000), Rejected)


@pytest.mark.parametrize("name", _NAMES)
def test_text_is_read_back_as_the_same_program(name: str, samples: dict[str, list[Sample]]) -> None:
    for sample in samples[name][:60]:
        program = sample.request.program
        parsed = asm.parse(disassemble(program, sample.request.runs), "text")
        assert parsed.runs == sample.request.runs
        again = parsed.program
        assert (again.insns, again.kfuncs) == (program.insns, program.kfuncs)
        assert _maps(again) == _maps(program)
        assert exceptions.callback(again) == exceptions.callback(program)
        assert (again.prog_type, again.prog_flags) == (program.prog_type, program.prog_flags)
        if program.func_info[0].insn == 0:
            assert _prototypes(again) == _prototypes(program)


@pytest.mark.parametrize("name", ["calls", "isa"])
def test_nearly_all_are_accepted(name: str, samples: dict[str, list[Sample]]) -> None:
    accepted = sum(_accepted(sample) for sample in samples[name])
    assert accepted >= 0.95 * _CASES


@pytest.mark.parametrize("name", ["mutated", "near"])
def test_others_are_accepted_and_refused(name: str, samples: dict[str, list[Sample]]) -> None:
    accepted = sum(_accepted(sample) for sample in samples[name])
    assert 0.25 * _CASES <= accepted <= 0.75 * _CASES


@pytest.mark.parametrize("name", _NAMES)
def test_a_case_follows_from_its_number_alone(name: str, samples: dict[str, list[Sample]]) -> None:
    for number in (7, 3, 7):  # in any order, and again
        assert make(name, 1, number) == samples[name][number]
    assert make(name, 2, 7).request != samples[name][7].request


def test_the_same_in_another_process_with_another_hash_seed() -> None:
    program = (
        "import hashlib, sys\nfrom emu.fuzz.generators import GENERATORS, make\n"
        "whole = hashlib.sha256()\n"
        "for name in GENERATORS:\n    for number in range(12):\n        whole.update(repr(make(name, 5, number)).encode())\n"
        "print(whole.hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1


@pytest.mark.parametrize("name", _NAMES)
def test_every_case_has_one_to_three_inputs(name: str, samples: dict[str, list[Sample]]) -> None:
    for sample in samples[name]:
        if "base:corpus" not in sample.tags:
            assert 1 <= len(sample.request.runs) <= 3
            assert sample.request.program.prog_type in ("sched_cls", "xdp", "syscall", "raw_tracepoint")


def test_unknown_generator() -> None:
    with pytest.raises(InputError, match="there is none; there are: calls, isa, mutated, near"):
        make("none", 1, 1)


def test_calls_have_functions_and_kfuncs_of_all_counts() -> None:
    counts: Counter[int] = Counter()
    kfuncs: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    stacks: Counter[int] = Counter()
    for number in range(400):
        sample = make("calls", 3, number)
        program = sample.request.program
        tags.update(sample.tags)
        stacks.update(-insn.off for insn in program.insns if insn.dst == FP and insn.cls in (ST, STX))
        assert program.btf is not None
        for info in program.func_info[1:]:
            counts[len(program.btf.prototype(info.type_id).params)] += 1
        kfuncs.update(ref.name for ref in program.kfuncs)
    assert set(counts) == set(range(MAX_FUNC_ARGS + 1))
    assert {f"okf_sum{count}" for count in range(5, 13)} <= set(kfuncs)
    called = {len(KFUNCS[name].proto.params) for name in kfuncs}
    assert called == set(range(MAX_FUNC_ARGS + 1))
    assert tags.keys() >= _SHAPES
    assert stacks.keys() >= {112, 120, 127, 128, 129, 136, 300}


def test_isa_has_every_form() -> None:
    found: set[str] = set()
    for number in range(500):
        insns = make("isa", 3, number).request.program.insns
        wide = False
        for insn in insns:
            form = None if wide else form_of(insn)
            wide = not wide and insn.code == 0x18
            if form is not None:
                found.add(form.name)
    assert found == {form.name for form in FORMS if form.loadable}


def test_tags_are_sorted_words(samples: dict[str, list[Sample]]) -> None:
    for sample in samples["calls"]:
        assert list(sample.tags) == sorted(set(sample.tags))


def test_generators_keep_nothing() -> None:
    for name, generator in GENERATORS.items():
        first = generator(random.Random(name))
        generator(random.Random("between"))
        assert generator(random.Random(name)) == first


def test_the_name_is_the_case(samples: dict[str, list[Sample]]) -> None:
    sample = samples["isa"][5]
    assert sample.name == "isa-1-5" == sample.request.program.name
    assert replace(sample, number=6).name == "isa-1-6"


@pytest.mark.parametrize("edge", [-32768, 32767])
def test_a_changed_displacement_fits_into_its_field(edge: int) -> None:
    text = Text(asm.parse(f"r0 = *(u8 *)(r1 {edge:+d})\nexit", "t").program)
    draw = Draw(random.Random(1))
    offsets = set()
    for _ in range(50):
        assert change_offset(draw, text)
        offsets.add(text.lines[0].off)
        text.lines[0].off = edge
    assert len(offsets) > 8
    assert all(-32768 <= off <= 32767 for off in offsets)
    assert any(off * edge < 0 for off in offsets)
