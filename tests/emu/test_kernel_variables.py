"""ld_imm64 of a kernel's variable: the same address in both engines, its bytes read through bpf_this_cpu_ptr.

What a real 7.3.4 kernel says of such programs is in fixtures/golden-more/forms.jsonl.gz.
"""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from bpf import asm
from bpf.kernelvars import KERNEL_VARS, SCALAR_SIZES
from bpf.program import Program, Request, RunInput
from bpf.verified import Rejected, Verified
from emu.interp import Interpreter
from emu.pipeline import Options, Pipeline
from emu.runtime.memory import ARENAS
from emu.runtime.variables import places
from emu.runtime.world import World
from emu.sandbox import Sandbox
from verifier import verify

NUMBERS = {one.name: one.number for one in KERNEL_VARS.values()}
BASE, SIZE = ARENAS["variables"]


def program(body: str) -> Program:
    for name in ("bpf_prog_active", "nr_dentry", "cpu_number"):
        body = body.replace(f"&{name}", f"btf_id[{NUMBERS[name]}]")
    return asm.parse(
        f"prog type syscall license GPL flags 16\nint main(void *ctx):\n{body}\nexit\n", "t"
    ).program


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(Options())
    yield made
    made.close()


def test_the_table() -> None:
    assert len(KERNEL_VARS) == len(NUMBERS) == 144
    assert KERNEL_VARS[NUMBERS["bpf_prog_active"]].type == "int"
    assert SCALAR_SIZES["int"] == 4
    assert {one.size for one in KERNEL_VARS.values() if not one.struct} == {1, 2, 4, 8}
    assert not SCALAR_SIZES.keys() & {one.type for one in KERNEL_VARS.values() if one.struct}


def test_each_variable_lies_apart_from_the_others() -> None:
    made = program("\n".join(f"r1 = btf_id[{number}]" for number in KERNEL_VARS) + "\nr0 = 0")
    found = places(made)
    assert found.keys() == KERNEL_VARS.keys()
    ends = [(addr, addr + KERNEL_VARS[number].size) for number, addr in found.items()]
    assert all(end < following for (_, end), (following, _) in pairwise(ends))
    assert ends[0][0] == BASE
    assert ends[-1][1] <= BASE + SIZE
    assert Interpreter(World(made)).run(RunInput()).trap is None


def test_address_and_bytes_are_the_same_in_both_engines(pipeline: Pipeline) -> None:
    made = program("r0 = &bpf_prog_active")
    case = pipeline.run(Request(made))
    assert case.difference is None
    assert case.interp is not None
    assert case.interp.runs[0].r0 == BASE
    assert case.image is not None
    code = case.image.functions[0].code
    assert bytes.fromhex("48c7c0") in code  # mov rax, imm32: such an address is 32 bits, extended by its sign


@pytest.mark.parametrize(
    "call", ["call bpf_this_cpu_ptr", "r2 = 0\ncall bpf_per_cpu_ptr\nif r0 == 0 goto out"]
)
def test_what_is_in_a_variable_is_read(call: str) -> None:
    made = program(f"r1 = &cpu_number\nr1 = &nr_dentry\n{call}\nr0 = *(u64 *)(r0 +0)\nout:")
    verdict = verify(made)
    assert isinstance(verdict, Verified)
    pipeline = Pipeline(Options())
    case = pipeline.run(Request(made))
    assert case.image is not None
    world = World(made)
    addr = world.variable(NUMBERS["nr_dentry"])
    region = world.memory.region_at(addr)
    assert region is not None
    assert (region.name, region.size, region.writable) == ("nr_dentry", 8, False)
    region.view[:] = bytes(range(8))
    want = int.from_bytes(bytes(range(8)), "little")
    assert Interpreter(world).run(RunInput()).r0 == want
    native = World(made, memory=pipeline.machine.memory)
    sandbox = Sandbox(pipeline.machine, native, case.image)
    found = native.memory.region_at(addr)
    assert found is not None
    found.view[:] = bytes(range(8))
    assert sandbox.run(RunInput()).r0 == want
    pipeline.close()


def test_there_is_one_processor(pipeline: Pipeline) -> None:
    made = program(
        "r1 = &cpu_number\nr2 = 1\ncall bpf_per_cpu_ptr\nif r0 == 0 goto out\nr0 = *(u32 *)(r0 +0)\nr0 = 7\nout:"
    )
    case = pipeline.run(Request(made))
    assert case.difference is None
    assert case.interp is not None
    assert case.interp.runs[0].r0 == 0


@pytest.mark.parametrize(
    ("body", "errno", "message"),
    [
        ("r1 = &bpf_prog_active\nr0 = *(u32 *)(r1 +0)", "EACCES", "R1 is ptr_int access percpu memory: off=0"),
        ("r1 = &bpf_prog_active\ncall bpf_this_cpu_ptr\nr0 = *(u32 *)(r0 +4)", "EACCES", "R0 min value is outside of the allowed memory range"),
        ("r1 = &bpf_prog_active\ncall bpf_this_cpu_ptr\n*(u32 *)(r0 +0) = 1\nr0 = 0", "EACCES", "R0 cannot write into rdonly_mem"),
        ("r1 = &bpf_prog_active\nr2 = 0\ncall bpf_per_cpu_ptr\nr0 = *(u32 *)(r0 +0)", "EACCES", "R0 invalid mem access 'rdonly_mem_or_null'"),
        ("r1 = btf_id[5]\nr0 = 0", "EINVAL", "pseudo btf_id 5 in ldimm64 isn't KIND_VAR or KIND_FUNC"),
        ("r1 = &bpf_prog_active+7\nr0 = 0", "EINVAL", "invalid module BTF object FD specified."),
    ],
)  # fmt: skip
def test_what_a_kernel_refuses(body: str, errno: str, message: str) -> None:
    verdict = verify(program(body))
    assert isinstance(verdict, Rejected)
    assert (verdict.errno, verdict.message) == (errno, message)
