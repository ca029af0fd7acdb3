"""`compile_program`: a verified program to an image. The only stage entry of this package, with `place`.

A function is lowered in four steps: look every instruction up (jit.lower), finish those that need the frame or a
relocation, find the sizes of the jumps (jit.relax), and join the pieces. What lies elsewhere stays zero in the code and
is described by relocations (jit.place fills them in).
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import ClassVar, Final

from bpf import isa
from bpf.helpers import HELPERS
from bpf.insn import Insn
from bpf.verified import Subprog, Verified
from jit import alu, calls, layout
from jit.emitted import Emitted, Pushing
from jit.errors import CannotLower, JitUnsupported
from jit.image import Image, NativeFunction, Poke, Reloc
from jit.jumps import LATER_EXIT, Jump
from jit.layout import Plan
from jit.lower import Lowered, Special, lowering
from jit.memory import store_number, store_reg
from jit.mode import Mode
from jit.probe import probe
from jit.profile import DEFAULT, Profile
from jit.regmap import FP
from jit.relax import Relaxation, Site, Unsettled
from jit.x64.encoder import form

_ENDBR: Final = form("endbr64")()
_PASSES_WITHOUT_JUMPS: Final = 3
_STX_DW: Final = isa.STX | isa.MEM | isa.DW
CALL_BASE: Final = "__bpf_call_base"
_MOV64_K: Final = isa.ALU64 | isa.MOV | isa.K
_MAP_POINTERS: Final = (isa.PSEUDO_MAP_FD, isa.PSEUDO_MAP_IDX)
_MAP_VALUES: Final = (isa.PSEUDO_MAP_VALUE, isa.PSEUDO_MAP_IDX_VALUE)


def compile_program(verified: Verified, profile: Profile = DEFAULT) -> Image:
    """The native code of all functions of `verified`, in their order, not yet placed.

    Raises JitUnsupported for what the kernel's emitter would refuse, with the instruction.
    """
    starts = {sub.start: number for number, sub in enumerate(verified.subprogs)}
    functions = tuple(_Function(verified, sub, profile, starts).compile() for sub in verified.subprogs)
    return Image(verified, functions)


class _Function:
    """Compiles one function. Indices in here are slots counted from the function's start."""

    def __init__(self, verified: Verified, sub: Subprog, profile: Profile, starts: dict[int, int]) -> None:
        self.verified = verified
        self.sub = sub
        self.starts = starts
        self.body = verified.insns[sub.start : sub.end]
        self.mode = Mode(profile, sub.private_stack, sub.arena_user)
        self.plan = self._plan(profile)
        self.pieces: dict[int, Emitted] = {}  # finished instructions that carry more than bytes
        self.jumps: dict[int, Jump] = {}
        self.first_exit: int | None = None

    def compile(self) -> NativeFunction:
        parts = self._lower()
        specials = [index for index, part in enumerate(parts) if part.__class__ is not bytes]
        codes: list[bytes] = parts  # type: ignore[assignment]  # from here on every entry is replaced by bytes
        for index in specials:
            codes[index] = self._special(index, parts[index])
        self._name_numbers(codes)
        self._mark_indirect_targets(codes)
        head = layout.prologue(self.plan)
        passes = self._relax(codes, len(head.code)) if self.jumps else _PASSES_WITHOUT_JUMPS
        offsets = tuple(accumulate(map(len, codes), initial=len(head.code)))
        relocs, extable, pokes = self._collect(head, offsets)
        return NativeFunction(
            name=self.sub.name,
            code=head.code + b"".join(codes),
            prologue=len(head.code),
            offsets=offsets,
            relocs=relocs,
            frame=layout.frame(
                self.plan,
                head,
                [
                    (offsets[i], offsets[i + 1], piece.moves)
                    for i, piece in self.pieces.items()
                    if piece.moves
                ],
            ),
            passes=passes,
            extable=extable,
            pokes=pokes,
        )

    # ---- errors

    def _error(self, index: int | None, why: object) -> JitUnsupported:
        return JitUnsupported(
            self.verified.program.name, None if index is None else self.sub.start + index, str(why)
        )

    def _plan(self, profile: Profile) -> Plan:
        # src of an ld_imm64 says what the number is; as the kernel, which clears it first, we do not count it
        used = {insn.dst for insn in self.body}
        used.update(insn.src for insn in self.body if insn.code != isa.LD_IMM64)
        try:
            return layout.plan(self.sub, profile, used, self.verified.subprogs[0])
        except CannotLower as error:
            raise self._error(None, error) from None

    # ---- step 1: look up

    def _lower(self) -> list[Lowered]:
        table = lowering(self.mode)
        try:
            return [table[insn] for insn in self.body]
        except CannotLower:
            for index, insn in enumerate(self.body):
                try:
                    table[insn]
                except CannotLower as error:
                    raise self._error(index, error) from None
            raise

    # ---- step 2: finish what depends on frame and surroundings

    def _special(self, index: int, part: Lowered) -> bytes:
        if isinstance(part, Jump):
            return self._jump(index, part)
        if isinstance(part, Pushing):
            self.pieces[index] = Emitted(part, moves=list(part.moves))
            return part
        assert isinstance(part, Special)
        try:
            emitted = self._FINISH[part](self, index, self.body[index])
        except CannotLower as error:
            raise self._error(index, error) from None
        if isinstance(emitted, bytes):
            return emitted
        if emitted.fields or emitted.extable or emitted.poke or emitted.moves:
            self.pieces[index] = emitted
        return emitted.code

    def _jump(self, index: int, jump: Jump) -> bytes:
        target = index + 1 + jump.distance
        if not 0 <= target < len(self.body):
            raise self._error(index, f"jump to insn {self.sub.start + target} outside of its function")
        if target and self.body[target].code == 0 and self.body[target - 1].code == isa.LD_IMM64:
            raise self._error(index, "jump into the middle of an ld_imm64")
        self.jumps[index] = jump
        return jump.head

    def _ld_imm64(self, index: int, insn: Insn) -> Emitted | bytes:
        if index + 1 >= len(self.body) or self.body[index + 1].code != 0:
            raise CannotLower("ld_imm64 without its second slot")
        upper = self.body[index + 1].imm
        dst = self.mode.reg(insn.dst)
        slot = self.sub.start + index
        if insn.src == 0 and slot not in self.verified.symbols:
            return alu.mov_imm64(dst, insn.imm & isa.U32 | (upper & isa.U32) << 32)
        out = Emitted()
        if insn.src in _MAP_POINTERS or insn.src in _MAP_VALUES:
            if not 0 <= insn.imm < len(self.verified.program.maps):
                raise CannotLower(f"map {insn.imm} does not exist")
            kind, addend = ("map", 0) if insn.src in _MAP_POINTERS else ("mapval", upper & isa.U32)
            out.add_field(alu.movabs(dst, 0), 8, kind, insn.imm, "", addend, slot)
        elif insn.src == isa.PSEUDO_FUNC and self.verified.several_functions:
            target = self._function_at(slot + 1 + insn.imm)
            out.add_field(alu.mov_signed(dst, 0), 4, "func", target, insn=slot)
        elif slot in self.verified.symbols:
            symbol = self.verified.symbols[slot]
            out.add_field(alu.mov_signed(dst, 0), 4, "symbol", symbol=symbol, insn=slot)
        else:  # also a function pointer in a program of one function: the kernel leaves that number alone
            out.add(alu.mov_imm64(dst, insn.imm & isa.U32 | (upper & isa.U32) << 32))
        return out

    def _name_numbers(self, codes: list[bytes]) -> None:
        """A `mov` of a number that `symbols` names is the address of that symbol (inlined helpers have such)."""
        for slot, symbol in self.verified.symbols.items():
            index = slot - self.sub.start
            if self.sub.start <= slot < self.sub.end and self.body[index].code == _MOV64_K:
                piece = Emitted()
                dst = self.mode.reg(self.body[index].dst)
                piece.add_field(alu.mov_signed(dst, 0), 4, "symbol", symbol=symbol, insn=slot)
                self.pieces[index] = piece
                codes[index] = piece.code

    def _second_slot(self, index: int, _insn: Insn) -> bytes:
        if index == 0 or self.body[index - 1].code != isa.LD_IMM64:
            raise CannotLower("unknown opcode 00")
        return b""

    def _function_at(self, slot: int) -> int:
        try:
            return self.starts[slot]
        except KeyError:
            raise CannotLower(f"no function starts at insn {slot}") from None

    def _call(self, index: int, insn: Insn) -> Emitted:
        slot = self.sub.start + index
        if insn.src == isa.PSEUDO_CALL and not self.verified.several_functions and insn.imm:
            # an inlined loop of no rounds, whose callback is gone: taken for a helper, and never made
            return calls.call(self.plan, slot, symbol=CALL_BASE, addend=insn.imm)
        if insn.src == isa.PSEUDO_CALL:
            return calls.call(self.plan, slot, function=self._function_at(slot + 1 + insn.imm))
        symbol = self.verified.symbols.get(slot) or self._callee(insn)
        arena_args = self.verified.arena_args.get(slot, ())
        if arena_args and (
            self.sub.arena_user is None or not all(1 <= number <= 5 for number, _ in arena_args)
        ):
            raise CannotLower("arena argument without an arena or not in a register")
        return calls.call(self.plan, slot, symbol=symbol, arena_args=arena_args)

    def _callee(self, insn: Insn) -> str:
        if insn.src == isa.PSEUDO_KFUNC_CALL:
            if not 0 <= insn.imm < len(self.verified.kfuncs):
                raise CannotLower(f"kfunc {insn.imm} does not exist")
            return self.verified.kfuncs[insn.imm].name
        if insn.src != isa.HELPER_CALL:
            raise CannotLower(f"call of kind {insn.src}")
        if insn.imm not in HELPERS:
            raise CannotLower(f"unknown helper {insn.imm}")
        return HELPERS[insn.imm].symbol or HELPERS[insn.imm].name

    def _exit(self, index: int, _insn: Insn) -> Emitted | bytes:
        if self.first_exit is None:
            self.first_exit = index
            end = layout.epilogue(self.plan)
            if not self.sub.classic_user:
                return end
            out = calls.history_barrier(self.plan, self.sub.start + index)
            out.append(end)
            return out
        self.jumps[index] = LATER_EXIT
        return b""

    def _tail_call(self, index: int, insn: Insn) -> Emitted:
        if not self.sub.tail_call_reachable:
            raise CannotLower("tail call in a function that is not marked for it")
        return calls.tail_call(self.plan, self.sub.start + index, insn.imm)

    def _gotox(self, index: int, insn: Insn) -> Emitted:
        out = Emitted()
        calls.indirect_jump(out, self.plan.profile, self.mode.reg(insn.dst), self.sub.start + index)
        return out

    def _percpu(self, index: int, insn: Insn) -> Emitted:
        return calls.percpu(self.mode.reg(insn.dst), self.mode.reg(insn.src), self.sub.start + index)

    def _stack_arg(self, _index: int, insn: Insn) -> bytes:
        if isa.store_slot(insn.off) >= self.sub.out_stack_args:
            raise CannotLower(
                f"stack argument at r11{insn.off:+d}, but the function has {self.sub.out_stack_args}"
            )
        off = self.plan.native_off(insn.off)
        if insn.code == _STX_DW:
            return store_reg(isa.DW, FP, off, self.mode.reg(insn.src))
        return store_number(isa.DW, FP, off, insn.imm)

    def _probe(self, _index: int, insn: Insn) -> Emitted:
        return probe(insn, self.mode)

    def _mark_indirect_targets(self, codes: list[bytes]) -> None:
        if not self.plan.profile.ibt:
            return
        for slot in self.verified.indirect_targets:
            if self.sub.start <= slot < self.sub.end:
                index = slot - self.sub.start
                codes[index] = _ENDBR + codes[index]
                if index in self.pieces:
                    self.pieces[index].prefix(_ENDBR)

    # ---- step 3: sizes of jumps

    def _relax(self, codes: list[bytes], prologue: int) -> int:
        """Append the jumps to the code in front of them; the number of passes that the kernel makes."""
        ends = list(accumulate(map(len, codes), initial=prologue))
        indices = list(self.jumps)  # ascending
        sites = []
        for index, jump in self.jumps.items():
            target = index + 1 + jump.distance
            if jump is LATER_EXIT:
                assert self.first_exit is not None
                target = self.first_exit
            sites.append(
                Site(jump, index, ends[index + 1], target, ends[target], bisect_left(indices, target))
            )
        relaxation = Relaxation(sites, ends[-1])
        try:
            passes = relaxation.run(several=self.verified.several_functions)
        except Unsettled as error:
            raise self._error(None, f"{self.sub.name}: {error}") from None
        for number, index in enumerate(indices):
            codes[index] += relaxation.code(number)
        return passes

    # ---- step 4: what the pieces carried, at its final offset

    def _collect(
        self, head: Emitted, offsets: Sequence[int]
    ) -> tuple[tuple[Reloc, ...], tuple[tuple[int, int, str], ...], tuple[Poke, ...]]:
        relocs = list(head.relocs(0))
        extable: list[tuple[int, int, str]] = []
        pokes = []
        for index, piece in self.pieces.items():
            base = offsets[index]
            relocs += piece.relocs(base)
            extable += ((at + base, length, clears) for at, length, clears in piece.extable)
            if piece.poke:
                slot = self.sub.start + index
                bypass, target = piece.poke
                pokes.append(Poke(slot, self.body[index].imm, base + bypass, base + target))
        return tuple(relocs), tuple(extable), tuple(pokes)

    # How what needs more than itself is finished; bytes where nothing comes with them.
    _FINISH: ClassVar[dict[Special, Callable[["_Function", int, Insn], Emitted | bytes]]] = {
        Special.LD_IMM64: _ld_imm64,
        Special.SECOND_SLOT: _second_slot,
        Special.CALL: _call,
        Special.EXIT: _exit,
        Special.TAIL_CALL: _tail_call,
        Special.GOTOX: _gotox,
        Special.PERCPU: _percpu,
        Special.STACK_ARG: _stack_arg,
        Special.PROBE: _probe,
    }
