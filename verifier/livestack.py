"""Which halves of stack slots may be read later, for every function as it is called from each place.

Source: kernel/bpf/liveness.c. A half is 4 bytes: bit 2 * spi is the one at the higher address of slot spi, bit
2 * spi + 1 the lower. The result decides what verifier/clean.py forgets.
"""

from typing import TYPE_CHECKING, Final

from bpf import isa
from verifier import fptrack, prelog
from verifier.constfold import SUBPROG, Constants
from verifier.flow import Flow
from verifier.fptrack import ARG0, IMPRECISE, NONE, Context, Places, Spills, Track
from verifier.liveregs import num_params
from verifier.stacksize import ANY, helper_bytes, kfunc_bytes
from verifier.state import VState

if TYPE_CHECKING:
    from verifier.env import Env

_HALVES: Final = 128
_ALL: Final = (1 << _HALVES) - 1
_MAX_CALLS: Final = 10_000

# For helpers that call back: register of the function, of its context, and where the callback gets the context.
_CALLBACKS: Final = {181: (2, 3, 2), 164: (2, 3, 4), 180: (3, 4, 3), 209: (2, 3, 2)}


_RECORDED: Final = frozenset(
    code for code in range(256) if code & isa.CLASS_MASK in (isa.LDX, isa.STX, isa.ST) or code == isa.OP_CALL
)


class Instance:
    """A function as called from one place (struct func_instance).

    site: the call, or the function's start at depth 0. reads, writes, live: for each frame up to `depth` a mask for each
    instruction of the function, None while nothing is known of the frame.
    """

    __slots__ = ("depth", "done", "live", "reads", "site", "size", "start", "subprog", "writes")

    def __init__(self, site: int, depth: int, subprog: int, start: int, size: int) -> None:
        self.site = site
        self.depth = depth
        self.subprog = subprog
        self.start = start
        self.size = size
        self.done = False
        self.reads: list[list[int] | None] = [None] * (depth + 1)
        self.writes: list[list[int] | None] = [None] * (depth + 1)
        self.live: list[list[int] | None] = [None] * (depth + 1)

    def fresh(self) -> "Instance":
        """Another one for the same call, with nothing known."""
        return Instance(self.site, self.depth, self.subprog, self.start, self.size)

    def _masks(self, kind: list[list[int] | None], frame: int) -> list[int]:
        masks = kind[frame]
        if masks is None:
            for one in (self.reads, self.writes, self.live):
                one[frame] = [0] * self.size
            masks = kind[frame]
            assert masks is not None
        return masks

    def read(self, frame: int, at: int, mask: int) -> None:
        """An instruction may read these halves."""
        self._masks(self.reads, frame)[at - self.start] |= mask

    def write(self, frame: int, at: int, mask: int) -> None:
        """An instruction certainly writes these halves."""
        self._masks(self.writes, frame)[at - self.start] |= mask

    def live_before(self, frame: int, at: int) -> int:
        """Halves of a frame that may be read at an instruction or later."""
        masks = self.live[frame]
        return 0 if masks is None else masks[at - self.start]

    def merge(self, other: "Instance") -> None:
        """Another analysis of the same call: what either may read, what both write."""
        for frame in range(self.depth + 1):
            reads, writes = self.reads[frame], self.writes[frame]
            more, both = other.reads[frame], other.writes[frame]
            if more is None or both is None:
                if writes is not None:
                    self.writes[frame] = [0] * self.size
            elif reads is None or writes is None:
                self.reads[frame] = more
                self.writes[frame] = [0] * self.size
                self.live[frame] = [0] * self.size
            else:
                self.reads[frame] = [a | b for a, b in zip(reads, more, strict=True)]
                self.writes[frame] = [a & b for a, b in zip(writes, both, strict=True)]


class LiveStack:
    """The analysis of a whole program; `alive_masks` asks it."""

    def __init__(self, env: "Env", flow: Flow, constants: Constants) -> None:
        self.env = env
        self.flow = flow
        self.constants = constants
        self.instances: dict[tuple[int, int], Instance] = {}
        self.site_spills: dict[int, Spills] = {}
        self.analysed: set[int] = set()
        self.calls = 0

    def run(self, callers_first: list[int]) -> None:
        """Analyses every function, callers before those they call (bpf_compute_subprog_arg_access)."""
        for subprog in callers_first:
            if subprog in self.analysed and not self.env.layout.functions[subprog].is_global:
                continue
            instance = self._instance(-1, -1, subprog)
            self._analyse((NONE,) * fptrack.PLACES, instance, ())
        if self.env.verbose2:
            self.env.trace(prelog.instances_text(self.env, self.instances.values()))

    def _instance(self, depth: int, site: int, subprog: int) -> Instance:
        """The instance of a function called at `site` by one of `depth` (call_instance)."""
        function = self.env.layout.functions[subprog]
        depth += 1
        key = (depth, site if depth else function.start)
        found = self.instances.get(key)
        if found is None:
            found = Instance(key[1], depth, subprog, function.start, function.end - function.start)
            self.instances[key] = found
        return found

    def _analyse(self, entry: Places, instance: Instance, parents: tuple[Spills, ...]) -> None:
        """One function with what its caller has (analyze_subprog). parents: the callers' spills by frame."""
        self.calls += 1
        if self.calls > _MAX_CALLS:
            message = f"liveness analysis exceeded complexity limit ({self.calls} calls)"
            self.env.refuse("E2BIG", message)
        kept = instance
        if kept.done:
            instance = kept.fresh()
        self.analysed.add(instance.subprog)
        if self.env.verbose2 or self._may_hold_address(entry, instance):
            states = self._track(entry, instance, parents)
            for at in self.flow.postorder[instance.subprog]:
                state = states[at - instance.start]
                if state is not None and self.env.insns[at].code in (isa.OP_CALL, isa.LD_IMM64):
                    self._follow_call(at, state, instance, parents)
        if kept is not instance:
            kept.merge(instance)
        self._solve(kept)

    def _may_hold_address(self, entry: Places, instance: Instance) -> bool:
        """Whether there may be any stack address in a function: if none comes in and r10 is not named, there is none."""
        insns = self.env.insns[instance.start : instance.start + instance.size]
        return any(map(fptrack.is_fp, entry)) or any(
            insn.dst == isa.FP or insn.src == isa.FP for insn in insns
        )

    def _track(
        self, entry: Places, instance: Instance, parents: tuple[Spills, ...]
    ) -> list[fptrack.State | None]:
        """States before each instruction, and what loads, stores and calls do to the stack (compute_subprog_args)."""
        env, start, depth = self.env, instance.start, instance.depth
        first: Places = (
            NONE,
            *entry[1:6],
            *(NONE,) * 4,
            fptrack.single(depth, 0),
            *(NONE,) * isa.MAX_STACK_ARG_SLOTS,
        )
        context = Context(depth, entry[ARG0:], parents)
        states: list[fptrack.State | None] = [None] * instance.size
        states[0] = (first, {})
        if env.verbose2:
            env.trace(f"subprog#{instance.subprog}: analyzing (depth {depth})...\n")
        order = self.flow.postorder[instance.subprog][::-1]
        succ, insns = self.flow.succ, env.insns
        clean = not any(map(fptrack.is_fp, entry))
        # where nothing is moved while no register but r10 holds an address
        idle = [clean and insn.dst != isa.FP != insn.src for insn in insns[start : start + instance.size]]
        again = env.verbose2 or not self.flow.forward  # a log shows each round
        stale = bytearray(instance.size)  # states that changed since they were looked at
        stale[0] = changed = True
        while changed:
            changed = False
            for at in order:
                state = states[at - start]
                # a log shows the others again, too
                if state is None or not (stale[at - start] or env.verbose2):
                    continue
                stale[at - start] = False
                out = state
                if state[0] is not first or not idle[at - start]:
                    out = self._transfer(context, first, at, state)
                for to in succ[at]:
                    old = states[to - start]
                    new = out if old is None else fptrack.join_states(old, out)
                    if new is not old:
                        states[to - start] = new
                        stale[to - start] = True
                        changed = again
                        if env.verbose2 and old is not None:
                            env.trace(prelog.joined_text(at, to, old, out))
        for at in order:
            state = states[at - start]
            if state is not None and not (
                state[0] is first and idle[at - start] and insns[at].code != isa.OP_CALL
            ):
                self._record(at, state, instance)
        if env.verbose2:
            env.trace(prelog.addresses_text(env, env.layout.functions[instance.subprog], states))
        return states

    def _transfer(self, context: Context, first: Places, at: int, state: fptrack.State) -> fptrack.State:
        """The state behind an instruction; its places are `first` itself if they are equal to that."""
        out = fptrack.transfer(context, self.env.insns[at], state)
        if self.env.verbose2:
            self.env.trace(prelog.transferred_text(self.env, at, state, out))
        return (first, out[1]) if out[0] == first else out

    # ---- what an instruction reads and writes

    def _record(self, at: int, state: fptrack.State, instance: Instance) -> None:
        insn = self.env.insns[at]
        if insn.code not in _RECORDED:
            return
        places = state[0]
        if insn.code == isa.OP_CALL:
            if insn.src != isa.PSEUDO_CALL:
                self._record_call(at, places, instance)
            if insn.src == isa.PSEUDO_CALL or self.env.aux[at].calls_callback:
                self.site_spills[at] = state[1]
            return
        if isa.REG_PARAMS in (insn.dst, insn.src):
            return
        size = insn.size
        pointer = insn.src if insn.cls == isa.LDX else insn.dst
        if insn.cls != isa.LDX and insn.mode != isa.ATOMIC:
            size = -size
        elif insn.cls == isa.STX:
            if insn.imm == isa.STORE_REL:
                size = -size
            elif insn.imm == isa.LOAD_ACQ:
                pointer = insn.src
        track = places[pointer]
        if track is not NONE:
            self._record_access(at, fptrack.shifted(track, insn.off), size, instance)

    def _record_access(self, at: int, track: Track, size: int, instance: Instance) -> None:
        """size > 0: read, < 0: written, ANY: read up to the frame's end (record_stack_access)."""
        frame, offsets = track
        if frame == IMPRECISE:
            for one in range(instance.depth + 1):
                if offsets and offsets[0] >> one & 1:
                    instance.read(one, at, _ALL)
            return
        if not 0 <= frame <= instance.depth or size == 0:
            return
        if not offsets:
            if size > 0 or size == ANY:
                instance.read(frame, at, _ALL)
            return
        if ANY < size < 0 and len(offsets) != 1:
            return
        for off in offsets:
            if off < 0:
                _record_off(instance, frame, at, off, size)

    def _record_call(self, at: int, places: Places, instance: Instance) -> None:
        count = num_params(self.env, at)
        for number in range(1, (5 if count is None else count) + 1):
            place = number if number <= isa.MAX_REG_ARGS else ARG0 + number - isa.MAX_REG_ARGS - 1
            if place >= fptrack.PLACES:
                break
            track = places[place]
            if not fptrack.is_fp(track):
                continue
            insn = self.env.insns[at]
            if insn.src == isa.HELPER_CALL:
                size = helper_bytes(self.env, self.constants[at], insn, number)
            else:
                size = kfunc_bytes(self.env, self.constants[at], at, number)
            if size:
                self._record_access(at, track, size, instance)

    # ---- calls

    def _follow_call(
        self, at: int, state: fptrack.State, instance: Instance, parents: tuple[Spills, ...]
    ) -> None:
        """Analyses what is called here if it gets a stack address, and takes over what it reads of outer frames."""
        insn = self.env.insns[at]
        places = state[0]
        if insn.code == isa.OP_CALL and insn.src == isa.PSEUDO_CALL:
            subprog = self.env.layout.starting_at(at + insn.imm + 1).index
            entry = (NONE, *places[1:6], *(NONE,) * 5, *places[ARG0:])
        elif self.env.aux[at].calls_callback and insn.src == isa.HELPER_CALL and insn.imm in _CALLBACKS:
            function, given, taken = _CALLBACKS[insn.imm]
            held = self.constants[at][function]
            if held is None or held[0] != SUBPROG:
                if places[given] != NONE:
                    for frame in range(instance.depth + 1):
                        instance.read(frame, at, _ALL)
                return
            subprog = held[1]
            entry = tuple(places[given] if place == taken else NONE for place in range(fptrack.PLACES))
        else:
            return
        if not any(fptrack.is_fp(track) for track in entry):
            return
        if instance.depth == isa.MAX_CALL_FRAMES - 1:
            self.env.refuse("EINVAL", insn=at)
        callee = self._instance(instance.depth, at, subprog)
        self._analyse(entry, callee, (*parents, self.site_spills[at]))
        for frame in range(callee.depth):
            mask = callee.live_before(frame, callee.start)
            if callee.live[frame] is not None:
                instance.read(frame, at, mask)

    def _solve(self, instance: Instance) -> None:
        """Liveness from reads and writes, backwards (update_instance)."""
        instance.done = True
        order = self.flow.postorder[instance.subprog]
        succ = self.flow.succ
        start = instance.start
        for frame in range(instance.depth + 1):
            reads, writes, live = instance.reads[frame], instance.writes[frame], instance.live[frame]
            if reads is None or writes is None or live is None:
                continue
            changed = True
            while changed:
                changed = False
                for at in order:
                    if not succ[at]:
                        continue
                    out = 0
                    for to in succ[at]:
                        out |= live[to - start]
                    before = out & ~writes[at - start] | reads[at - start]
                    if before != live[at - start]:
                        live[at - start] = before
                        changed = True

    # ---- questions

    def find(self, state: VState, frameno: int) -> Instance | None:
        """The analysis that fits a frame of a state best (lookup_instance)."""
        frame = state.frames[frameno]
        start = self.env.layout.functions[frame.subprogno].start
        for depth in range(frameno, -1, -1):
            found = self.instances.get((depth, frame.callsite if depth and frameno else start))
            if found is not None:
                return found
        return None


def _record_off(instance: Instance, frame: int, at: int, off: int, size: int) -> None:
    """One access at fp + off (record_stack_access_off)."""
    if size == ANY:
        first, last = 0, (-off - 1) // 4
    elif size > 0:
        first, last = max((-off - size) // 4, 0), (-off - 1) // 4
    else:
        first, last = max(-(-(-off + size) // 4), 0), -off // 4 - 1
    if first > last or first >= _HALVES:
        return
    mask = ((1 << min(last, _HALVES - 1) + 1) - 1) ^ ((1 << first) - 1)
    if size > 0 or size == ANY:
        instance.read(frame, at, mask)
    else:
        instance.write(frame, at, mask)


def alive_masks(env: "Env", state: VState) -> list[int]:
    """For each frame of a state the halves that may be read from here on (bpf_stack_slot_alive)."""
    frames = state.frames
    last = len(frames) - 1
    live: LiveStack = env.live_stack
    instances = [live.find(state, i) for i in range(last + 1)]
    return [_alive(env, state, instances, i) if frame.stack else 0 for i, frame in enumerate(frames)]


def _alive(env: "Env", state: VState, instances: list[Instance | None], frameno: int) -> int:
    last = len(instances) - 1
    current = instances[last]
    if current is None:
        return _ALL
    inner = frameno + current.depth - last
    mask = current.live_before(inner, state.insn_idx) if 0 <= inner <= current.depth else 0
    for i in range(frameno, last):
        outer = instances[i]
        if outer is None:
            return _ALL
        inner = frameno + outer.depth - i
        if not 0 <= inner <= outer.depth:
            return _ALL
        site = state.frames[i + 1].callsite
        mask |= outer.live_before(inner, site if env.aux[site].calls_callback else site + 1)
    return mask
