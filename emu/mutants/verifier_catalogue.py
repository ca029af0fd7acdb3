"""The catalogue: every fault of the verifier that is planted, one row each.

kind: bits (known bits), bounds (ranges), halves (64 and 32 bits), branch (what conditions teach), access (what may be read and
written), forgotten (what a call or store must invalidate), argument (stack arguments), pruning (states taken for covered),
precision (numbers taken for irrelevant), rewriting (what the JIT is given). check: the oracle of the campaign meant to kill it.
"""

from typing import Any, Final

from bpf import isa
from emu.mutants import number_faults as n
from emu.mutants import rewrite_faults as w
from emu.mutants import state_faults as s
from emu.mutants.mutant import Fault, Mutant
from verifier import refine


def _row(name: str, kind: str, what: str, check: str, where: str, fault: Fault | Any) -> Mutant:
    return Mutant(name, kind, what, check, tuple(where.split()), fault, "verifier")


# fmt: off
VERIFIER_MUTANTS: Final = (
    _row("tnum-add-no-carry", "bits", "no carry out of unknown bits in a sum", "sound", "verifier.tnum:add", n.no_carry),
    _row("tnum-xor-half-mask", "bits", "unknown bits of the second operand of xor are missed", "sound", "verifier.tnum:xor", n.half_mask),
    _row("tnum-or-half-mask", "bits", "unknown bits of the second operand of or are missed", "sound", "verifier.tnum:or_", n.half_mask),
    _row("tnum-join", "bits", "joining two tnums forgets the bits in which they differ", "sound", "verifier.tnum:union", n.join_of_masks),
    _row("or-upper-bound", "bounds", "a | b is at most the greater of both", "sound", "verifier.arith:_or", n.clipped(n.greater_of_both)),
    _row("mul-overflow", "bounds", "the product of the greatest is not checked for overflow", "sound", "verifier.arith:_mul64", n.clipped(n.corners_of_product)),
    _row("sub-same-ends", "bounds", "a - b between the differences of equal ends", "sound", "verifier.arith:_difference64", n.same_ends),
    _row("lsh-overflow", "bounds", "bits that leave the word are not checked for in a shift", "sound", "verifier.arith:_lsh64", n.clipped(n.shifted_corners)),
    _row("arsh-unsigned", "bounds", "bounds of s>> as those of >>", "sound", "verifier.arith:_arsh64", n.clipped(n.shifted_right)),
    _row("rsh-keeps-half", "halves", "a 64-bit shift to the right keeps the low half's range", "sound", "verifier.arith:_rsh64", n.keeps_low_half),
    _row("umod-off-by-one", "bounds", "the greatest remainder is the divisor less two", "sound", "verifier.division:umod64", n.remainder_too_small),
    _row("half-of-any-range", "halves", "the low half's range is learnt from a range wider than it", "sound", "verifier.num:_bounds_from_bounds", n.half_of_any_range),
    _row("whole-is-its-half", "halves", "the 64-bit range is cut to the 32-bit one", "sound", "verifier.cnum:intersect_half", n.whole_is_its_half),
    _row("mov32-keeps-high-half", "halves", "w1 = w2 keeps the upper half's bits and range", "sound", "verifier.alu:zext", n.same_number),
    _row("narrow-fill", "halves", "a narrow load of a wider spilled number is not cut", "sound", "verifier.casts:truncate", n.same_number),
    _row("movsx-no-sign", "halves", "sign extension brings zeros in", "sound", "verifier.casts:truncate_sx", n.not_extended),
    _row("bswap-ignored", "bits", "a byte swap leaves the number as it was", "sound", "verifier.alu:byte_swap", n.same_number),
    _row("jle-off-by-one", "branch", "<= refines as <", "sound", f"verifier.refine:_REFINE[{refine.BPF_JLE}]", n.strictly(n.unsigned_order, 1)),
    _row("jslt-unsigned", "branch", "s< refines as <", "sound", f"verifier.refine:_REFINE[{refine.BPF_JSLT}]", n.strictly(n.unsigned_order, 1)),
    _row("jsgt-sides-exchanged", "branch", "what s> teaches goes to the wrong side", "sound", "verifier.refine:_decide", n.sides_exchanged(refine.BPF_JSGT)),
    _row("jne-two-words", "branch", "!= excludes the next word, too", "sound", "verifier.refine:_not_word", n.two_words),
    _row("jset-all-bits", "branch", "& with some bits: all of them are set", "sound", "verifier.refine:_any_bit", n.all_bits),
    _row("jmp32-refines-whole", "branch", "comparisons of low halves refine 64 bits", "sound", "verifier.refine:refine", n.always_wide),
    _row("jlt-taken-too-soon", "branch", "< is certain where the greatest equals the least", "sound", "verifier.refine:is_taken", n.taken_too_soon),
    _row("linked-at-no-distance", "branch", "registers a constant apart are refined as equal", "sound", "verifier.links:_moved", s.at_no_distance),
    _row("link-not-cut", "branch", "a register that changes stays linked with what it was equal to", "sound", "verifier.links:clear_scalar_id", s.gives_first),
    _row("size-off-by-one", "access", "one byte behind the end counts as inside", "accepted", "verifier.regions:_inside", s.one_byte_behind),
    _row("least-offset-only", "access", "of a variable offset only the least one is checked", "accepted", "verifier.regions:check_mem_region_access", s.least_offset_only),
    _row("negative-offset", "access", "a variable offset is taken for one that is not negative", "accepted", "verifier.regions:check_mem_region_access", s.no_negative_offset),
    _row("packet-reach", "access", "one byte more of the packet than was compared", "accepted", "verifier.branches:_find_good_pkt_pointers", s.reach_too_far),
    _row("null-unchecked", "access", "memory is accessed through pointers that may be null", "accepted", "verifier.memory:check_mem_access", s.without_check),
    _row("null-other-branch", "access", "a check against null counts for the wrong branch", "sound", "verifier.branches:mark_ptr_or_null_regs", s.other_branch),
    _row("null-any-copy", "access", "a check against null counts for all pointers of the kind", "sound", "verifier.branches:mark_ptr_or_null_regs", s.all_or_none),
    _row("stack-misaligned", "access", "accesses of the stack need not be aligned", "sound", "verifier.memory:check_ptr_alignment", s.gives(None)),
    _row("helper-keeps-registers", "forgotten", "r1 to r5 stay after a call of a helper or kfunc", "accepted", "verifier.references:clear_caller_saved_regs", s.keeps(5)),
    _row("call-keeps-registers", "forgotten", "r1 to r5 stay after a call of a function", "accepted", "verifier.funccalls:_clear_caller_saved", s.keeps_in_caller),
    _row("packet-pointers-stay", "forgotten", "packet pointers stay after a helper that may move the packet", "accepted", "verifier.references:clear_all_pkt_pointers", s.gives(None)),
    _row("helper-writes-nothing", "forgotten", "what a helper writes into the stack is forgotten", "sound", "verifier.stack:check_stack_write", s.by_instructions_only),
    _row("byte-over-spill", "forgotten", "a byte written over a spilled register leaves it", "sound", "verifier.stack:_write_bytes", s.parts_kept),
    _row("variable-write", "forgotten", "a store at a variable offset leaves what is there", "sound", "verifier.stack:_maybe_write_slot", s.gives(False)),
    _row("arguments-stay", "argument", "stored stack arguments stay after a call", "accepted", "verifier.stackargs:invalidate_outgoing_stack_args", s.gives(None)),
    _row("arguments-unasked", "argument", "a call does not ask for stored stack arguments", "accepted", "verifier.stackargs:check_outgoing_stack_args", s.gives(None)),
    _row("last-argument-unasked", "argument", "a call does not ask for the last stack argument", "accepted", "verifier.stackargs:check_outgoing_stack_args", s.but_the_last),
    _row("late-argument-loads", "argument", "no_stack_arg_load is not looked at", "engines", "verifier.stackargs:check_stack_arg_read", s.late_loads),
    _row("one-incoming-more", "argument", "a function may load one argument more than it has", "accepted", "verifier.stackargs:check_stack_arg_read", s.one_slot_more),
    _row("incoming-next-slot", "argument", "an incoming argument is looked up one slot further", "sound", "verifier.stackargs:check_stack_arg_read", s.next_slot),
    _row("pruning-ignores-arguments", "pruning", "stack arguments are not compared", "sound", "verifier.compare:stack_arg_safe", s.gives(True)),
    _row("pruning-ignores-stack", "pruning", "the stack is not compared", "sound", "verifier.compare:stacksafe", s.gives(True)),
    _row("pruning-ignores-scalars", "pruning", "numbers are not compared, precise or not", "sound", "verifier.compare:_scalar_safe", s.gives(True)),
    _row("pruning-ignores-frames", "pruning", "only the innermost frame is compared", "sound", "verifier.compare:_frames_equal", s.innermost_only),
    _row("pruning-ignores-r6", "pruning", "only r0 to r5 are compared", "sound", "verifier.compare:_numbers", lambda right: lambda mask: right(mask & 0x3F)),
    _row("pruning-ignores-ids", "pruning", "links between numbers are not compared", "sound", "verifier.compare:IdMap.check_scalar", s.gives(True)),
    _row("precision-of-branches", "precision", "what decides a branch is not marked", "sound", "verifier.precision:mark_chain_precision", s.gives(None)),
    _row("precision-of-slots", "precision", "what a checkpoint needs of the stack is not passed on", "sound", "verifier.prune:_collect_precise", s.without_slots),
    _row("precision-of-arguments", "precision", "what a checkpoint needs of stack arguments is not passed on", "sound", "verifier.prune:_collect_precise", s.without_args),
    _row("precision-ends-at-loads", "precision", "precision is not followed through fills and stack arguments", "sound", "verifier.backtrack:_load", s.ends_at_loads),
    _row("precision-of-sources", "precision", "precision is not followed to the source of arithmetic", "sound", "verifier.backtrack:simple_step", s.destination_only),
    _row("precision-not-passed-on", "precision", "a path that a checkpoint ends takes none of its marks", "sound", "verifier.prune:propagate_precision", s.gives(False)),
    _row("div-unpatched", "rewriting", "/ by a register that may be 0 is left as it is", "engines", "verifier.divmod:patch_division", w.unpatched(w.by_register(isa.DIV, 0))),
    _row("mod-unpatched", "rewriting", "% by a register that may be 0 is left as it is", "engines", "verifier.divmod:patch_division", w.unpatched(w.by_register(isa.MOD, 0))),
    _row("sdiv-minus-one", "rewriting", "s/ by a register is patched for 0 only, not for -1", "engines", "verifier.divmod:_signed_div", w.zero_only),
    _row("mod32-not-cut", "rewriting", "w %= 0 keeps the upper half", "engines", "verifier.divmod:_truncate", s.gives(())),
    _row("dead-side", "rewriting", "a jump with one dead side goes to the dead one", "engines", "verifier.deadcode:_hard_wire", w.wired_to_dead_side),
    _row("nop-too-far", "rewriting", "a jump over one instruction is removed as a nop", "engines", "verifier.deadcode:_is_nop", w.one_too_far),
    _row("frame-too-small", "rewriting", "frames of 8 bytes less than the program uses", "engines", "verifier.fixups:rewrite", s.frame_too_small),
    _row("variable-depth", "rewriting", "an access at a variable offset does not count for the depth", "engines", "verifier.stackrange:check_stack_access_within_bounds", s.depth_not_counted),
    _row("lookup-one-more", "rewriting", "the inlined lookup in an array lets one index more through", "engines", "verifier.inline:_indexed", w.replaced(lambda insn: insn.op == isa.JGE and insn.cls == isa.JMP, w.one_more)),
    _row("loop-one-more", "rewriting", "the inlined bpf_loop goes round once more", "engines", "verifier.inline:loop", w.replaced(lambda insn: insn.code == isa.JMP | isa.JGE | isa.X, w.greater)),
)
# fmt: on
