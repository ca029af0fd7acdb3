"""Which refusals get an explaining block, and its words: one row for each kind of message.

A row: pattern of the message; shape of the block; problem, operation or section; reason; suggestion. `{1}` is what the
pattern's first group found; the names in braces are listed in verifier/diagnose.py. Source: the callers of bpf_diag_* in
kernel/bpf/verifier.c and kernel/bpf/cfg.c of 7.3.4. The words are what users of that kernel read. No code here.
"""

import re
from typing import Final, NamedTuple

MEMORY: Final = "Memory Safety"
REGISTERS: Final = "Register Type Safety"
RESOURCES: Final = "Resource Lifetime Safety"
CALLS: Final = "Call Type Safety"
CONTEXTS: Final = "Execution Context Safety"
STRUCTURE: Final = "Program Structure"
POLICY: Final = "Policy"

RCU: Final = "RCU read lock region"
PREEMPT: Final = "non-preemptible region"
IRQ: Final = "IRQ-disabled region"
LOCK: Final = "lock region"


class Row(NamedTuple):
    """One kind of refusal."""

    pattern: "re.Pattern[str]"
    shape: str
    problem: str
    reason: str
    suggestion: str


def _rows(shape: str, *rows: tuple[str, str, str, str]) -> list[Row]:
    return [Row(re.compile(f"{pattern}$"), shape, *rest) for pattern, *rest in rows]


_NAME: Final = r"(R\d+|\*\(R11-\d+\))"

ROWS: Final[list[Row]] = [
    *_rows(
        STRUCTURE,
        (
            r"jump out of range from insn (-?\d+) to (-?\d+)",
            "jump out of range",
            "Instruction {1} jumps to instruction {2}, but subprogram {function} only contains instructions {first} through {last}. A branch target must stay inside the same subprogram.",
            "Keep branch targets within the same subprogram, or use an explicit subprogram call.",
        ),
        (
            r"last insn is not an exit or jmp",
            "subprogram can fall through",
            "Subprogram {function} reaches its last instruction {insn} without an exit or jump, so control could continue into the next subprogram.",
            "End each subprogram with an exit or an explicit jump that keeps control flow inside the subprogram.",
        ),
        (
            r"recursive call from .*",
            "recursive subprogram call",
            "This bpf2bpf call would make the subprogram call graph recursive. The verifier requires a finite, acyclic call graph so it can bound stack depth and analysis.",
            "Rewrite the recursion as an explicit bounded loop, or split the logic so subprogram calls do not form a cycle.",
        ),
        (
            r"unreachable insn (\d+)",
            "unreachable instruction",
            "Instruction {1} is not reachable from the program entry point.",
            "Remove the unreachable instruction or add valid control flow that reaches it.",
        ),
        (
            r"jump into the middle of ldimm64 insn (\d+)",
            "jump into ldimm64 immediate",
            "Control flow reaches the second half of the ldimm64 instruction pair that starts at instruction {1}.",
            "Target the first instruction of the ldimm64 pair, or restructure the jump target.",
        ),
        (
            r"no jump tables found for subprog starting at (\d+)",
            "missing jump table",
            "No jump table was found for the subprogram that starts at instruction {1}.",
            "Make sure subprograms containing gotox instructions are accompanied by jump tables referencing these subprograms.",
        ),
        (
            r"jump table for insn (\d+) points outside of the subprog \[(\d+),(\d+)\]",
            "jump table target out of range",
            "The jump table for instruction {1} points outside subprogram range [{2},{3}).",
            "Keep every jump-table target inside the same subprogram.",
        ),
        (
            r"indirect jump out of range from insn (\d+) to (\d+)",
            "indirect jump out of range",
            "Instruction {1} can jump indirectly to instruction {2}, but the program only contains instructions 0 through {end}.",
            "Keep indirect jump targets inside the program.",
        ),
    ),
    *_rows(
        REGISTERS,
        (
            r"R(\d+) 32-bit pointer arithmetic prohibited",
            "32-bit pointer arithmetic",
            "R{pointer} holds {plain}. 32-bit ALU operations on pointers discard pointer tracking, so the verifier cannot keep the result as a safe pointer.",
            "Use a 64-bit ALU instruction with an allowed, bounded scalar offset.",
        ),
        (
            r"R(\d+) pointer arithmetic on (\S+) prohibited, null-check it first",
            "pointer arithmetic before NULL check",
            "R{pointer} may be NULL ({2}). Pointer arithmetic is allowed only after the program proves the pointer is non-NULL on this path.",
            "Make sure that a NULL check precedes any arithmetic performed on the pointer.",
        ),
        (
            r"R(\d+) pointer arithmetic on (\S+) prohibited",
            "pointer arithmetic is not allowed",
            "R{pointer} holds {plain}. This pointer kind does not allow offset arithmetic.",
            "Do not change this pointer's offset; use it only in operations accepted for its kind.",
        ),
        (
            r"(?:math between .* is not allowed|value -?\d+ makes .* pointer be out of bounds)",
            "pointer offset is not safe",
            "The scalar offset used with R{pointer} is unbounded or outside the verifier's safe pointer-offset range [-536870912, 536870912].",
            "Clamp or bounds-check the scalar offset before applying it to the pointer.",
        ),
        (
            r"\S+ pointer offset (-?\d+) is not allowed",
            "pointer offset is not safe",
            "{outside}",
            "{keep}",
        ),
        (
            r"R(\d+) tried to subtract pointer from scalar",
            "pointer subtracted from scalar",
            "This operation subtracts pointer register R{pointer} from scalar register R{1}. The verifier only tracks pointer-minus-scalar arithmetic for allowed pointer types.",
            "Keep the pointer as the base; only add or subtract bounded scalars when permitted.",
        ),
        (
            r"R(\d+) subtraction from stack pointer prohibited",
            "subtraction from stack pointer",
            "R{pointer} is a stack pointer. The verifier does not allow BPF_SUB to move stack pointers.",
            "Use addition from R10 to form stack addresses within the tracked stack frame.",
        ),
        (
            r"R(\d+) bitwise operator (\S+) on pointer prohibited",
            "bitwise operation on pointer",
            "R{pointer} holds {plain}. Bitwise operator {2} would destroy the pointer value the verifier is tracking.",
            "Do bitwise operations on scalar values, not on pointer-valued registers.",
        ),
        (
            r"R(\d+) pointer arithmetic with (\S+) operator prohibited",
            "invalid pointer arithmetic operator",
            "R{pointer} holds {plain}. Operator {2} is not one of the limited pointer arithmetic operations the verifier can track.",
            "Use only verifier-supported addition or subtraction with a bounded scalar offset, or perform this operation on a scalar value.",
        ),
    ),
    *_rows("deref", (rf"{_NAME} invalid mem access '.*'", "", "", "")),
    *_rows("modified", (rf"dereference of modified \S+ ptr {_NAME} off=(-?\d+) disallowed", "", "", "")),
    *_rows("unreadable", (r"R(\d+) !read_ok", "", "", "")),
    *_rows("missing", (r"callee expects (\d+) args, stack arg(\d+) is not initialized", "", "", "")),
    *_rows(
        "bounds",
        (
            rf"{_NAME} min value is negative, either use unsigned index or do a if \(index >=0\) check\.",
            "",
            "the minimal bound for a memory access is a negative value: {start}",
            "",
        ),
        (
            rf"{_NAME} min value is outside of the allowed memory range",
            "",
            "the minimal bound for a memory access is {start} and is outside of the object of size {size}",
            "",
        ),
        (
            rf"{_NAME} unbounded memory access, make sure to bounds check any such access",
            "",
            "the maximal bound for a memory access is {umax} and exceeds maximum allowed offset of 536870912",
            "",
        ),
        (
            rf"{_NAME} max value is outside of the allowed memory range",
            "",
            "the maximal bound for a memory access is {end}: start {high} + access_size {bytes}, beyond object_size {size}",
            "",
        ),
    ),
    *_rows(
        MEMORY,
        (
            r"invalid read from stack off (-?\d+)\+(\d+) size (\d+)",
            "uninitialized stack read",
            "This rejected read uses {3} bytes at stack offset {1}, but byte {2} in that range is uninitialized on this path. Programs loaded with CAP_PERFMON can be allowed to read uninitialized stack bytes, but this program is being rejected without that allowance.",
            "Initialize every byte in the stack range before reading it, adjust the offset and size so the read covers only initialized bytes, or load with CAP_PERFMON if uninitialized stack reads are intended.",
        ),
        (
            r"variable offset stack pointer cannot be passed into helper function; var_off=(.*) off=(-?\d+) size=(\d+)",
            "variable stack access",
            "The helper would access the stack through variable offset {1} plus fixed offset {2} and size {3}. Helper stack memory arguments require a constant stack offset and a precise initialized range.",
            "Use a fixed stack offset for helper memory arguments, or copy the needed bytes into a fixed stack slot first.",
        ),
    ),
    *_rows(
        RESOURCES,
        (
            r"Dynptr has to be an uninitialized dynptr",
            "dynptr is already initialized",
            "This kfunc constructs a dynptr and requires an uninitialized dynptr stack slot, but the selected slot already holds dynptr state.",
            "Use a fresh stack dynptr slot, or release/destroy the existing dynptr before reusing the slot.",
        ),
        (
            r"CONST_PTR_TO_DYNPTR cannot be released",
            "const dynptr release",
            "This release operation was given a const dynptr. Const dynptr values are verifier-provided views and cannot be released by the program.",
            "Release only mutable dynptrs that the program initialized or reserved.",
        ),
        (
            r"Expected an initialized dynptr as .*",
            "uninitialized dynptr use",
            "This operation requires an initialized dynptr, but the stack slot does not currently hold a valid dynptr on this path.",
            "Initialize the dynptr on every path before this call, and avoid overwriting or releasing it before this use.",
        ),
        (
            r"cannot overwrite referenced dynptr",
            "referenced dynptr overwrite",
            "This stack slot contains a dynptr that owns or protects a referenced resource. Overwriting the last dynptr for that resource would lose the verifier-tracked release path.",
            "Release or clone the dynptr so another live dynptr still tracks the referenced resource before overwriting this stack slot.",
        ),
        (
            r"expected uninitialized iter_\S+ as .*",
            "iterator is already initialized",
            "Iterator creation requires an uninitialized iterator stack object, but this stack range already contains iterator state.",
            "Use a fresh iterator stack slot, or destroy the existing iterator before reusing the slot.",
        ),
        (
            r"expected an initialized iter_\S+ as .*",
            "uninitialized iterator use",
            "This iterator operation requires an initialized iterator state object, but the stack range does not contain a live iterator on this path.",
            "Call the matching iterator new kfunc on every path before calling next or destroy, and do not destroy the iterator before this use.",
        ),
        (
            r"expected uninitialized irq flag as .*",
            "IRQ flag is already initialized",
            "Saving IRQ state requires an uninitialized stack slot for the IRQ flag, but this slot already contains tracked IRQ flag state.",
            "Use a fresh stack slot for this save operation, or restore the existing IRQ flag before reusing the slot.",
        ),
        (
            r"expected an initialized irq flag as .*",
            "uninitialized IRQ flag restore",
            "Restoring IRQ state requires a stack slot that was initialized by a matching IRQ save operation on this path.",
            "Pass the same stack slot that was previously initialized by the matching IRQ save kfunc.",
        ),
        (
            r"\S+_unlock without taking a lock",
            "unlock without lock",
            "This unlock operation has no matching active lock on the current path.",
            "Take the matching lock before this unlock, or remove the unmatched unlock path.",
        ),
    ),
    *_rows(
        "irq",
        (
            r"irq flag acquired by (\S+) kfuncs cannot be restored with (\S+) kfuncs",
            "IRQ flag restore mismatch",
            "This IRQ flag was saved by {1} IRQ kfuncs, but the restore call belongs to the {2} IRQ kfunc family. Save and restore operations must use the same family.",
            "Restore the flag with the matching IRQ restore kfunc for the save operation that created it.",
        ),
        (
            r"cannot restore irq state out of order, .*",
            "IRQ flag restore out of order",
            "IRQ-disabled regions must be restored in last-in, first-out order, but this restore does not match the currently active IRQ flag.",
            "Restore nested IRQ flags in the reverse order they were saved.",
        ),
    ),
    *_rows(
        "lock",
        (
            r"Locking two bpf_spin_locks are not allowed",
            "nested spin lock",
            "This path already holds a bpf_spin_lock. The verifier allows only one regular BPF spin lock at a time.",
            "Unlock the current bpf_spin_lock before taking another one.",
        ),
        (
            r"Acquiring the same lock again, AA deadlock detected",
            "recursive resource spin lock",
            "This path already holds the same resource spin lock. Taking it again would deadlock.",
            "Avoid reacquiring the same resource spin lock before it is unlocked.",
        ),
        (
            r"\S+_unlock of different lock",
            "unlock of a different lock",
            "This unlock does not match any active lock with the same tracked identity on the current path.",
            "Unlock the same lock object that was most recently acquired.",
        ),
        (
            r"\S+_unlock cannot be out of order",
            "unlock out of order",
            "Locks must be released in last-in, first-out order, but this unlock does not match the currently active lock.",
            "Release nested locks in the reverse order they were acquired.",
        ),
    ),
    *_rows(
        CALLS,
        (
            rf"{_NAME} type=(\S+) expected=(.*)",
            "",
            "it has type {2}, but this argument accepts {3}",
            "Pass a value with one of the accepted pointer or scalar types for this call.",
        ),
        (
            rf"Possibly NULL pointer passed to helper {_NAME}",
            "",
            "the pointer may be NULL, but this call requires a non-NULL pointer",
            "Add a NULL check and make the call only on the non-NULL path.",
        ),
        (
            rf"Possibly NULL pointer passed to trusted {_NAME}",
            "",
            "the pointer may be NULL, but this kfunc requires a non-NULL value of type {type}",
            "Add a NULL check and call the kfunc only on the non-NULL path.",
        ),
        (
            rf"release helper \S+ expects referenced PTR_TO_BTF_ID passed to {_NAME}",
            "",
            "release helpers require a value that owns a live resource returned by a matching acquire helper",
            "Pass the resource-owning pointer returned by the matching acquire helper, and avoid calling the release helper after ownership has already been transferred or released.",
        ),
        (
            rf"release kfunc \S+ expects referenced PTR_TO_BTF_ID passed to {_NAME}",
            "",
            "release kfuncs require a resource-owning value of type {target} returned by a matching acquire kfunc",
            "Pass the resource-owning pointer returned by the matching acquire kfunc, and avoid calling the release kfunc after ownership has already been transferred or released.",
        ),
        (
            rf"{_NAME} is not a scalar",
            "",
            "the kfunc expects {wanted}, but {1} is {argument}",
            "{scalar}",
        ),
        (
            rf"{_NAME} must be a known constant",
            "",
            "the kfunc requires this {constant} to be a verifier-known constant, but {1} is variable on this path",
            "Pass a compile-time constant or a value the verifier can prove is constant at this call.",
        ),
        (
            rf"{_NAME} expected pointer to ctx, but got .*",
            "",
            "the kfunc expects a context pointer, but {1} is {argument}",
            "Pass the original program context pointer or preserve it before modifying registers.",
        ),
        (
            rf"{_NAME} expected pointer to allocated object",
            "",
            "the kfunc expects an allocated object pointer, but {1} is {argument}",
            "Pass a pointer returned by the matching BPF object allocation path.",
        ),
        (
            rf"{_NAME} must be referenced or trusted",
            "",
            "the kfunc requires a trusted or resource-owning pointer to {target}, but {1} is {argument}",
            "Pass a pointer acquired from a verifier-tracked source, or call this kfunc only inside the required protection if it accepts RCU pointers.",
        ),
        (
            rf"{_NAME} must be a rcu pointer",
            "",
            "the kfunc requires an RCU-protected pointer to {target}, but {1} is {argument}",
            "Use this kfunc with a pointer that is valid in an RCU read lock region.",
        ),
        (
            rf"{_NAME} is \S+ expected (?:struct|STRUCT|UNION) .*",
            "",
            "the kfunc expects a pointer to {target}, but this argument is {argument} and cannot be used as that kernel object pointer",
            "Pass a verifier-tracked pointer to the expected kernel object type, not a pointer to stack storage or another memory buffer.",
        ),
        (
            rf"{_NAME} is neither owning or non-owning ref",
            "",
            "the kfunc expects a pointer to a BPF-managed refcounted object, but {1} is {argument}",
            "Pass an owning or non-owning pointer to a BPF-managed object containing a bpf_refcount field.",
        ),
        (
            rf"{_NAME} doesn't point to a const string",
            "",
            "the kfunc expects a pointer to a constant string stored in verifier-known memory, but {1} is {argument}",
            "Pass a constant string pointer that the verifier recognizes, such as a string stored in a read-only map value.",
        ),
        (
            rf"{_NAME} doesn't point to an irq flag on stack",
            "",
            "the kfunc expects a stack pointer to an IRQ flag slot, but {1} is {argument}",
            "Pass the same stack slot used by bpf_local_irq_save() or bpf_res_spin_lock_irqsave().",
        ),
        (
            rf"{_NAME} expected pointer to stack or const struct bpf_dynptr",
            "",
            "a dynptr argument must be a pointer to a dynptr stack slot or a verifier-provided const struct bpf_dynptr, but {1} is {argument}",
            "Pass the address of a stack dynptr object, or use a const dynptr pointer returned by the verifier-supported path.",
        ),
        (
            rf"{_NAME} expected pointer to an iterator on stack",
            "",
            "iterator state must live in verifier-tracked stack memory, but {1} is {argument}",
            "Pass the address of a stack iterator object for iterator new, next, and destroy calls.",
        ),
    ),
    *_rows(
        POLICY,
        (
            r"program of this type cannot use helper (\S+)",
            "helper {1}",
            "this program type does not allow the helper",
            "Use a helper allowed for this program type, or move the logic to a compatible program type.",
        ),
        (
            r"cannot call GPL-restricted function from non-GPL compatible program",
            "helper {helper}",
            "this helper is restricted to GPL-compatible programs",
            "Use a GPL-compatible license, or replace the helper with one that is available to non-GPL programs.",
        ),
        (
            r"helper call is not allowed in probe",
            "helper {helper}",
            "the helper-specific policy callback rejected this program",
            "Use the helper only from an allowed attach point or program configuration.",
        ),
        (
            r"calling kernel function (\S+) is not allowed",
            "kfunc {1}",
            "this program cannot call the kfunc",
            "Use a kfunc allowed for this program type and attach point, or change the program context.",
        ),
    ),
    *_rows(
        "forbidden",
        (
            r"sleepable helper (\S+) in .*",
            "sleepable helper {1}",
            "",
            "Move the helper call outside the critical section, or use a non-sleepable helper.",
        ),
        (
            r"sleepable global function (\S+) called in .*",
            "sleepable global function {1}",
            "",
            "Move the call outside the critical section, or use a non-sleepable function.",
        ),
        (
            r"program must be sleepable to call sleepable kfunc (\S+)",
            "sleepable kfunc {1}",
            "",
            "Mark the program sleepable if the program type allows it, or use a non-sleepable kfunc.",
        ),
        (
            r"kernel func (\S+) is sleepable within .*",
            "sleepable kfunc {1}",
            "",
            "Move the kfunc call outside the critical section, or use a non-sleepable kfunc.",
        ),
    ),
    *_rows(
        "active",
        (
            r"(.*) cannot be used inside bpf_spin_lock-ed region",
            "{1}",
            LOCK,
            "Release the BPF spin lock before this operation on every path.",
        ),
        (
            r"(.*) cannot be used inside bpf_local_irq_save-ed region",
            "{1}",
            IRQ,
            "Restore the saved IRQ state before this operation on every path.",
        ),
        (
            r"(.*) cannot be used inside bpf_rcu_read_lock-ed region",
            "{1}",
            RCU,
            "Call bpf_rcu_read_unlock() before this operation on every path.",
        ),
        (
            r"(.*) cannot be used inside bpf_preempt_disable-ed region",
            "{1}",
            PREEMPT,
            "Call bpf_preempt_enable() before this operation on every path.",
        ),
        (
            r"use static function instead",
            "global function {call}()",
            LOCK,
            "Release the lock before calling the global function, or use a static function instead.",
        ),
        (
            r"function calls are not allowed while holding a lock",
            "function call",
            LOCK,
            "Release the BPF spin lock before making this call, or move the call outside the locked region.",
        ),
    ),
    *_rows(
        "required",
        (
            r"kernel func (\S+) requires RCU critical section protection",
            "{1}",
            RCU,
            "Call this kfunc between bpf_rcu_read_lock() and bpf_rcu_read_unlock(), keeping all exit paths balanced.",
        ),
        (
            r"expected an RCU CS when using (\S+)",
            "{1}",
            RCU,
            "Wrap iterator use in bpf_rcu_read_lock() and bpf_rcu_read_unlock(), keeping all exit paths balanced.",
        ),
    ),
    *_rows(
        "underflow",
        (
            r"unmatched rcu read unlock \(kernel function (\S+)\)",
            "{1}",
            RCU,
            "Remove the extra bpf_rcu_read_unlock() call, or ensure this path first enters an RCU read lock region.",
        ),
        (
            r"unmatched attempt to enable preemption \(kernel function (\S+)\)",
            "{1}",
            PREEMPT,
            "Remove the extra bpf_preempt_enable() call, or ensure this path first disables preemption.",
        ),
    ),
]  # fmt: skip


def row_for(message: str) -> tuple[Row, "re.Match[str]"] | None:
    """The row of a message, and what its pattern found."""
    for row in ROWS:
        found = row.pattern.match(message)
        if found is not None:
            return row, found
    return None
