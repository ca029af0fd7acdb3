"""Makes single calls of helpers and kfuncs in a world, and repeats the calls that a real 7.3.4 kernel answered."""

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bpf.helpers import BY_NAME
from bpf.kfuncs import KFUNCS
from bpf.maps import MapSpec
from bpf.program import Program, RunInput
from emu.runtime.callback import Callback
from emu.runtime.memory import Memory, Region
from emu.runtime.world import World

FIXTURES = Path(__file__).parents[2] / "fixtures"
M64 = (1 << 64) - 1
MEMORY = Memory()  # every world resets it


def recorded(folder: str) -> list[Any]:
    """The cases of fixtures/helpers or fixtures/kfuncs."""
    with gzip.open(FIXTURES / folder / "kernel.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@dataclass
class Calls:
    """A world in the middle of a run, and its context's address."""

    world: World
    ctx: int
    buffers: list[Region] = field(default_factory=list)

    def buffer(self, data: bytes, *, writable: bool = True, kind: str = "mem") -> int:
        """Address of a new object with these bytes."""
        region = self.world.memory.alloc("heap", len(data), kind, "buffer", writable=writable)
        region.view[:] = data
        self.buffers.append(region)
        return region.base

    def helper(self, name: str | int, *args: int) -> int:
        """r0 after a helper that calls nothing back, as a signed number."""
        number = name if isinstance(name, int) else BY_NAME[name].id
        return signed(self.raw(number, *args))

    def raw(self, name: str | int, *args: int) -> int:
        """r0 after a helper (by number) or kfunc (by name)."""
        words = [arg & M64 for arg in args] + [0] * (12 - len(args))
        world = self.world
        answer = world.helper(name, words) if isinstance(name, int) else world.kfunc(name, words)
        assert isinstance(answer, int)
        assert 0 <= answer <= M64
        return answer

    def callbacks(self, name: str, args: tuple[int, ...], answers: list[int]) -> tuple[int, list[Callback]]:
        """r0 after a helper that calls back, and its calls; `answers` are r0 of the callback, the last one repeats."""
        running = self.world.helper(BY_NAME[name].id, list(args))
        assert not isinstance(running, int)
        made: list[Callback] = []
        try:
            made.append(next(running))
            while True:
                made.append(running.send(answers[min(len(made), len(answers)) - 1]))
        except StopIteration as stop:
            return signed(stop.value), made

    def read(self, addr: int, size: int) -> bytes:
        return self.world.memory.read(addr, size)


def signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def start(
    prog_type: str = "sched_cls",
    *,
    maps: tuple[MapSpec, ...] = (),
    data: bytes | None = None,
    ctx: bytes | None = None,
    seed: int = 0,
    cpus: int = 1,
) -> Calls:
    """A new world with a run begun."""
    program = Program("test", (), prog_type=prog_type, maps=maps)
    world = World(program, memory=MEMORY, seed=seed, cpus=cpus)
    return Calls(world, world.begin(RunInput(data_in=data, ctx_in=ctx)))


def _maps(case: dict[str, Any]) -> tuple[MapSpec, ...]:
    return tuple(
        MapSpec(
            f"m{at}",
            one["type"],
            one["key_size"],
            one["value_size"],
            one["max_entries"],
            one.get("flags", 0),
            tuple((bytes.fromhex(key), bytes.fromhex(value)) for key, value in one.get("elems", ())),
        )
        for at, one in enumerate(case.get("maps", ()))
    )


def repeat(case: dict[str, Any]) -> dict[str, Any]:
    """Make the calls of a case; answers in the form that the kernel's are recorded in."""
    data, ctx = (bytes.fromhex(case[key]) if key in case else None for key in ("data_in", "ctx_in"))
    calls = start(case.get("prog_type", "sched_cls"), maps=_maps(case), data=data, ctx=ctx)
    buffers = [calls.buffer(bytes.fromhex(text)) for text in case.get("bufs", ())]
    strings = {
        text: calls.buffer(text.encode("latin1") + b"\0", writable=False) for text in case.get("strs", ())
    }
    stack = calls.buffer(bytes(64), kind="stack") + 64

    def value(arg: Any) -> int:
        match arg:
            case int():
                return arg
            case "ctx":
                return calls.ctx
            case {"buf": int(at), "off": int(off)}:
                return buffers[at] + off
            case {"buf": int(at)}:
                return buffers[at]
            case {"str": text}:
                return strings[text]
            case {"map": int(at)}:
                return calls.world.map_pointer(at)
            case {"stack": int(off)}:
                return stack + off
        raise AssertionError(arg)

    r0 = []
    for callee, *args in case["calls"]:
        words = [value(arg) for arg in args]
        if isinstance(callee, dict):
            at, off = callee["poke"]
            calls.world.memory.store(buffers[at] + off, 8, words[0])
            r0.append(0)
        else:
            r0.append(calls.raw(callee, *words))
    after = [bytes(region.view).hex() for region in calls.buffers[: len(buffers)]]
    return {"r0": r0, "after": after, "data_out": calls.world.finish(0).data_out}


def check(case: dict[str, Any]) -> None:
    """Compare with what the kernel answered. Of a kernel's own kfuncs only the declared width of a result counts."""
    got = repeat(case)
    for at, (callee, *_) in enumerate(case["calls"]):
        have, want = got["r0"][at], int(case["r0"][at], 16)
        if isinstance(callee, dict):
            continue
        if isinstance(callee, str) and not callee.startswith("okf_"):
            ret = KFUNCS[callee].proto.ret
            have, want = ret.extend(have), ret.extend(want)
        assert have == want, f"call {at} of {callee}: {have:#x}, the kernel has {want:#x}"
    for at, want_buffer in enumerate(case.get("after", ())):
        assert want_buffer in (None, got["after"][at]), f"buffer {at}"
    if "data_out" in case:
        want_out = case["data_in"] if case["data_out"] == "same" else case["data_out"]
        assert got["data_out"].hex() == want_out
