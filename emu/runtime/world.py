"""Everything a program meets outside its instructions: one World per engine and case.

It owns the guest memory, the maps, the packet and context of the run, and the answers of helpers and kfuncs.
It knows nothing of engines; the interpreter and the sandbox both drive it through the same few methods.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bpf.errors import InputError
from bpf.program import Program, RunInput
from emu.runtime import variables
from emu.runtime.callback import HelperResult
from emu.runtime.contexts import Context
from emu.runtime.environment import Environment
from emu.runtime.internals import INTERNALS, helper_behind
from emu.runtime.maps import Map
from emu.runtime.maps_arena import ArenaMap, arena_of
from emu.runtime.maps_code import InsnArrayMap
from emu.runtime.maps_create import create_all
from emu.runtime.maps_slots import ProgArrayMap
from emu.runtime.memory import Memory
from emu.runtime.packet import Packet
from emu.runtime.reach import ctx_reach as find_reach
from emu.runtime.testrun import Finished, Prepared, prepare
from emu.runtime.testrun_base import Finish
from emu.runtime.traps import HelperTrap, RunRefused

SKF_LL_OFF = -0x200000
SKF_NET_OFF = -0x100000
_OWN_CONTEXT = frozenset({"syscall", "raw_tracepoint"})  # ctx_in itself is the context
_EMPTY: Mapping[str, Program] = {}


class World:
    """Maps and memory persist over the runs of a case; packet, context and trace lines belong to a run.

    memory: reset and used if given, so that its host memory serves many cases. programs: others, for prog
    arrays, by name. cpus: possible CPUs, of per-CPU maps. ctx_reach: bytes of its context that the program may
    access (None: found out here); runs with a shorter ctx_in are refused where it is the context.
    Raises InputError when a map cannot be created.
    """

    def __init__(
        self,
        program: Program,
        *,
        memory: Memory | None = None,
        seed: int = 0,
        programs: Mapping[str, Program] = _EMPTY,
        cpus: int = 1,
        ctx_reach: int | None = None,
    ) -> None:
        if memory is None:
            memory = Memory()
        else:
            memory.reset()
        self.memory = memory
        self.program = program
        self.programs = programs
        self.seed = seed
        if ctx_reach is None:
            ctx_reach = 0
            if program.prog_type in _OWN_CONTEXT:
                ctx_reach = find_reach(
                    program.insns, frozenset(at for spec in program.maps for at in spec.jumps)
                )
        self.ctx_reach = ctx_reach
        self.env = Environment(seed)
        self.trace: list[str] = []
        self.state: dict[str, Any] = {}  # what helpers and kfuncs remember from run to run
        self.maps: tuple[Map, ...] = create_all(program, memory, cpus)
        self.variables = variables.create(program, memory)
        self._by_addr = {one.addr: one for one in self.maps}
        self._prepared: Prepared | None = None
        self.context: Context | None = None

    # ---- addresses the program's ld_imm64 load ----

    def map_pointer(self, index: int) -> int:
        """Guest address of the struct bpf_map of map `index`. Raises InputError when there is no such map."""
        return self._map(index).addr

    def map_value(self, index: int, off: int) -> int:
        """Guest address of byte `off` of the values of array `index`, or of the addresses in a jump table."""
        one = self._map(index)
        values = one.direct()
        if not values:
            raise InputError(self.program.name, one.label, "has no values with a fixed address")
        return values + off

    def _map(self, index: int) -> Map:
        if not 0 <= index < len(self.maps):
            raise InputError(self.program.name, f"map {index}", f"the program has {len(self.maps)} maps")
        return self.maps[index]

    def variable(self, number: int) -> int:
        """Guest address of the kernel's variable with this number. Raises InputError where none has it."""
        addr = self.variables.get(number)
        if addr is None:
            raise InputError(
                self.program.name, f"btf_id {number}", "is no variable of the kernel that is known here"
            )
        return addr

    def place_code(self, where: Callable[[int], int]) -> None:
        """Fill the jump tables in. where: from an instruction of the program to its address in the engine; 0 for none."""
        for one in self.jump_tables():
            one.place_code(where)

    def arena(self, program: Program) -> ArenaMap | None:
        """The arena of a program whose maps are those of this world, None where it refers to none."""
        index = arena_of(program)
        one = None if index is None or index >= len(self.maps) else self.maps[index]
        return one if isinstance(one, ArenaMap) else None

    def jump_tables(self) -> list[InsnArrayMap]:
        """The maps that hold addresses of instructions."""
        return [one for one in self.maps if isinstance(one, InsnArrayMap)]

    def map_at(self, addr: int) -> Map:
        """The map whose struct bpf_map is at `addr`. Raises HelperTrap when there is none."""
        one = self._by_addr.get(addr)
        if one is None:
            raise HelperTrap("helper", f"{addr:#x} is no map")
        return one

    # ---- a run ----

    def begin(self, run: RunInput) -> int:
        """Set packet and context up; returns r1. Raises RunRefused where BPF_PROG_TEST_RUN refuses the run."""
        self.end()
        if self.program.prog_type in _OWN_CONTEXT and len(run.ctx_in or b"") < self.ctx_reach:
            raise RunRefused("EINVAL", f"the program accesses {self.ctx_reach} bytes of its context")
        self._prepared = prepare(self.memory, self.program, run)
        self.context = self._prepared.context
        return self.context.addr

    def again(self, run: RunInput) -> Finish | None:
        """As `begin`, with the objects of the last run, which no helper may have changed: how the run's results are made.

        None, with nothing changed, where it takes `begin`. Raises RunRefused.
        """
        if self._prepared is None or self.ctx_reach > len(run.ctx_in or b""):
            return None
        return self._prepared.again(run)

    @property
    def finishing(self) -> Finish | None:
        """How the results of the run are made that `begin` has made ready."""
        return self._prepared.finish if self._prepared else None

    @property
    def rounds(self) -> int:
        """How often the program is to run on the same packet and context (`repeat`); the last r0 counts."""
        return self._prepared.rounds if self._prepared else 1

    @property
    def packet(self) -> Packet | None:
        """The packet of this run, if its type has one."""
        return self.context.packet if self.context else None

    def finish(self, r0: int) -> Finished:
        """What BPF_PROG_TEST_RUN reports after the program returned `r0`."""
        assert self._prepared is not None
        done = self._prepared.finish(r0)
        for one in self.maps:
            one.settle()
        return done

    def end(self) -> None:
        """Take packet, context and whatever helpers allocated away; `begin` does so with the last run's."""
        self._prepared = self.context = None
        self.trace.clear()
        self.memory.clear(("packet", "ctx", "heap"))

    # ---- calls ----

    def helper(self, number: int, args: Sequence[int]) -> HelperResult:
        """Call helper `number`; `args` holds at least as many words as it has parameters."""
        found = _helpers().get(number)
        if found is None:
            raise HelperTrap("call", f"helper #{number} is not known")
        name, count, function = found
        if function is None:
            raise HelperTrap("call", f"helper {name}#{number} is not implemented")
        result: HelperResult = function(self, *args[:count])
        return result

    def kfunc(self, name: str, args: Sequence[int]) -> HelperResult:
        """Call kfunc `name`; it takes as many of `args` as its prototype has parameters."""
        known, implemented = _kfuncs()
        row = known.get(name)
        if row is None:
            raise HelperTrap("call", f"kfunc {name} is not known")
        function = implemented.get(name)
        if function is None:
            raise HelperTrap("call", f"kfunc {name} is not implemented")
        count = len(row.proto.params)
        result: HelperResult = function(self, *args[:count])
        return result

    def internal(self, symbol: str, args: Sequence[int]) -> HelperResult:
        """Call a kernel function that only the verifier's fixups call, by its symbol."""
        found = INTERNALS.get(symbol)
        if found is None:
            number = helper_behind(symbol)
            if number is None:
                raise HelperTrap("call", f"internal function {symbol} is not known")
            return self.helper(number, args)
        count, function = found
        return function(self, *args[:count])

    def skb_load(self, off: int, size: int) -> int | None:
        """LD_ABS, LD_IND: the big-endian number of `size` bytes at `off` of the packet, None when it is outside.

        Negative offsets count from the network or link-layer header (SKF_NET_OFF, SKF_LL_OFF).
        """
        packet = self.packet
        if packet is None:
            return None
        if off < 0:
            if off >= SKF_NET_OFF:
                off += packet.network - packet.data - SKF_NET_OFF
            elif off >= SKF_LL_OFF:
                off += packet.mac - packet.data - SKF_LL_OFF
            else:
                return None
        data = packet.load_bytes(off, size)
        return None if data is None else int.from_bytes(data, "big")

    def tail_target(self, map_addr: int, index: int) -> str | None:
        """Name of the program that a prog array holds at `index`, None when it holds none there."""
        one = self._by_addr.get(map_addr)
        return one.targets.get(index) if isinstance(one, ProgArrayMap) else None

    # ---- afterwards ----

    def contents(self) -> tuple[tuple[tuple[bytes, bytes], ...], ...]:
        """What user space reads from each map: for Outcome.maps."""
        return tuple(one.contents() for one in self.maps)

    def dumps(self) -> tuple[str, ...]:
        """The maps declared with `dump` in the form of recordings: `map_dumps`."""
        return tuple(one.dump() for one in self.maps if one.spec.dump)


_Table = dict[int, tuple[str, int, Callable[..., HelperResult] | None]]
_TABLES: dict[str, _Table] = {}
_MODULES: dict[str, Any] = {}


def _helpers() -> _Table:
    """Number -> (parameters, implementation); loaded at the first call, because implementations name World."""
    table = _TABLES.get("helpers")
    if table is None:
        known = importlib.import_module("bpf.helpers").HELPERS
        implemented = importlib.import_module("emu.runtime.helpers").IMPLEMENTED
        table = {number: (one.name, one.words, implemented.get(number)) for number, one in known.items()}
        _TABLES["helpers"] = table
    return table


def _kfuncs() -> tuple[dict[str, Any], dict[str, Callable[..., HelperResult]]]:
    """The prototypes and the implementations, to which users may have added some of their own."""
    if "kfuncs" not in _MODULES:
        _MODULES["kfuncs"] = (
            importlib.import_module("bpf.kfuncs").KFUNCS,
            importlib.import_module("emu.runtime.kfuncs").IMPLEMENTED,
        )
    found: tuple[dict[str, Any], dict[str, Callable[..., HelperResult]]] = _MODULES["kfuncs"]
    return found
