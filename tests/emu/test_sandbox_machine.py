"""The machine: code is replaced exactly, time is limited, memory is the runtime's own, nothing leaks."""

import gc
import random
import resource
import signal
import threading
import weakref
from collections.abc import Iterator

import pytest

from bpf.errors import InternalError
from emu.sandbox import Machine, addresses, entry, forbidden
from emu.sandbox.control import RETURN, RETURN_QUIET, Record

BASE = addresses.IMAGE


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine(seconds=0.2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def precise() -> Iterator[Machine]:
    made = Machine(precise=True)
    yield made
    made.close()


def run(machine: Machine, code: bytes, ctx: int = 0) -> int:
    machine.load(object(), [(BASE, code)])
    assert machine.execute(ctx).done
    return machine.control.exit().rax


def test_trampoline_passes_the_context_and_returns_all_of_rax(machine: Machine) -> None:
    assert run(machine, b"\x48\x89\xf8\xc3", 0x1234_5678_9ABC_DEF0) == 0x1234_5678_9ABC_DEF0


def test_registers_at_entry_are_sentinels_and_poison(machine: Machine) -> None:
    for reg in ("rbx", "rbp", "r12", "r13", "r14", "r15"):
        assert run(machine, entry.assemble(f"mov rax, {reg}; ret", BASE)) == addresses.SENTINELS[reg]
    for reg in ("rax", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11"):
        assert run(machine, entry.assemble(f"mov rax, {reg}; ret", BASE)) == addresses.POISON[reg]
    assert run(machine, entry.assemble("mov rax, rsp; ret", BASE)) == entry.entry_rsp()


def test_replaced_code_never_runs_again(machine: Machine) -> None:
    """Blocks of many lengths and numbers at the same addresses, with returns to earlier programs."""
    rng = random.Random(7)
    programs = []
    for _ in range(40):
        value = rng.getrandbits(31)
        jumps = b"".join(
            b"\xeb" + bytes([n := rng.randrange(4)]) + b"\xf4" * n for _ in range(rng.randrange(6))
        )
        pad = b"\x90" * rng.randrange(5000 if rng.random() < 0.1 else 40)
        programs.append((pad + jumps + b"\xb8" + value.to_bytes(4, "little") + b"\xc3", value))
    for _ in range(1500):
        code, value = rng.choice(programs)
        assert run(machine, code) == value


def test_code_behind_the_new_image_is_gone(machine: Machine) -> None:
    assert run(machine, b"\x90" * 64 + b"\xb8\x05\x00\x00\x00\xc3") == 5
    machine.load(object(), [(BASE, b"\x90")])
    stop = machine.execute(0)
    assert (stop.done, stop.interrupt, stop.rip) == (False, 3, BASE + 2)


def test_same_owner_is_not_loaded_twice(machine: Machine) -> None:
    owner = object()
    machine.load(owner, [(BASE, b"\xb8\x01\x00\x00\x00\xc3")])
    machine.load(owner, [(BASE, b"\xb8\x02\x00\x00\x00\xc3")])
    assert machine.execute(0).done
    assert machine.control.exit().rax == 1


def test_code_outside_of_the_image_area_is_our_fault(machine: Machine) -> None:
    with pytest.raises(InternalError):
        machine.load(object(), [(BASE - 16, b"\xc3")])
    with pytest.raises(InternalError):
        machine.load(object(), [(BASE + addresses.IMAGE_SIZE - 1, b"\xc3\xc3")])


def test_guest_and_runtime_see_the_same_bytes(machine: Machine) -> None:
    machine.memory.reset()
    for name in machine.memory.arenas:
        region = machine.memory.alloc(name, 16, "mem", name)
        machine.memory.store(region.base, 8, 0x1122334455667788)
        code = entry.assemble("mov rax, [rdi]; bswap rax; mov [rdi + 8], rax; ret", BASE)
        assert run(machine, code, region.base) == 0x8877665544332211
        assert machine.memory.load(region.base + 8, 8) == 0x8877665544332211


def test_reset_zeroes_what_native_code_wrote_anywhere_and_keeps_the_stack(machine: Machine) -> None:
    code = entry.assemble("mov byte ptr [rdi], 1; mov byte ptr [rdi + 70000], 1; xor eax, eax; ret", BASE)
    for arena in machine.memory.arenas.values():
        run(machine, code, arena.base + 5)
        machine.memory.reset()
        assert arena.view[5] == arena.view[70005] == 0
    assert machine.memory.find(addresses.STACK, 8, "read").kind == "stack"


def test_watchdog_stops_one_run_and_not_the_next(machine: Machine) -> None:
    for _ in range(3):
        machine.load(object(), [(BASE, b"\xeb\xfe")])
        stop = machine.execute(0)
        assert (stop.done, stop.timeout, stop.rip) == (False, True, BASE)
        assert run(machine, b"\x31\xc0\xc3") == 0


def test_a_machine_that_nobody_uses_any_more_goes_with_its_thread() -> None:
    before = set(threading.enumerate())
    made = Machine()
    run(made, b"\xc3")
    (thread,) = set(threading.enumerate()) - before
    gone = weakref.ref(made)
    del made
    gc.collect()
    thread.join(30.0)
    assert gone() is None
    assert not thread.is_alive()


def test_what_a_hook_raises_comes_out_and_the_machine_goes_on(machine: Machine) -> None:
    def ask() -> bool:
        raise KeyError("from the hook")

    stub = machine.symbol("anything")
    code = entry.assemble(f"push rax; call {stub:#x}; pop rcx; ret", BASE)
    machine.on_ask = ask
    machine.load(object(), [(BASE, code)])
    with pytest.raises(KeyError, match="from the hook"):
        machine.execute(0)
    machine.on_ask = None
    assert machine.execute(0).asked
    assert run(machine, b"\x31\xc0\xc3") == 0


def test_ctrl_c_inside_of_a_hook_is_raised_outside_of_it(precise: Machine) -> None:
    machine, behind = precise, []

    def ask() -> bool:
        signal.raise_signal(signal.SIGINT)
        behind.append("nothing is raised here: C would lose it")
        return True

    code = entry.assemble(f"push rax; call {machine.symbol('anything'):#x}; pop rcx; ret", BASE)
    machine.on_ask = ask
    machine.load(object(), [(BASE, code)])
    with pytest.raises(KeyboardInterrupt):
        machine.execute(0)
    machine.on_ask = None
    assert len(behind) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run(machine, b"\x31\xc0\xc3") == 0


def test_a_handler_of_somebody_elses_stays(precise: Machine) -> None:
    machine = precise
    seen: list[int] = []

    def ask() -> bool:
        signal.raise_signal(signal.SIGINT)
        return False

    before = signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        machine.on_ask = ask
        code = entry.assemble(f"push rax; call {machine.symbol('anything'):#x}; pop rcx; ret", BASE)
        machine.load(object(), [(BASE, code)])
        assert machine.execute(0).asked
        assert seen == [signal.SIGINT]
    finally:
        machine.on_ask = None
        signal.signal(signal.SIGINT, before)


def test_stub_records_every_register(machine: Machine) -> None:
    seen: list[Record] = []

    def ask() -> bool:
        seen.append(machine.control.record())
        machine.control.answer(RETURN, 77)
        return True

    stub = machine.symbol("twelve")
    sets = "; ".join(f"mov {reg}, {n}" for n, reg in enumerate(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), 1))
    code = entry.assemble(
        f"push rbp; mov rbp, rsp; sub rsp, 48; {sets}; mov qword ptr [rsp], 7; call {stub:#x}; leave; ret",
        BASE,
    )
    machine.on_ask = ask
    assert run(machine, code) == 77
    machine.on_ask = None
    (record,) = seen
    assert machine.symbol_at(addresses.STUBS + record.id * addresses.STUB_SIZE) == "twelve"
    assert record.args == (1, 2, 3, 4, 5, 6)
    assert record.rsp == entry.entry_rsp() - 8 - 48 - 8
    assert record.saved[1] == entry.entry_rsp() - 8
    assert [record.saved[i] for i in (0, 2, 3, 4, 5)] == [
        addresses.SENTINELS[reg] for reg in ("rbx", "r12", "r13", "r14", "r15")
    ]


def test_quiet_stub_keeps_all_but_r9_r10_r11(machine: Machine) -> None:
    def ask() -> bool:
        machine.control.answer(RETURN_QUIET, 500)
        return True

    machine.on_ask = ask
    stub = machine.symbol("arch_bpf_timed_may_goto")
    regs = ("rax", "rdi", "rsi", "rdx", "rcx", "r8", "rbx", "r12", "r13", "r14", "r15")
    for reg in regs:
        saves = "push rbx; push r12; push r13; push r14; push r15"
        restores = "pop r15; pop r14; pop r13; pop r12; pop rbx"
        text = f"{saves}; mov {reg}, 123; call {stub:#x}; mov rax, {reg}; {restores}; ret"
        assert run(machine, entry.assemble(text, BASE)) == 123
    for reg, want in (("r10", 500), ("r9", addresses.POISON["r9"]), ("r11", addresses.POISON["r11"])):
        text = f"push rbx; mov {reg}, 123; call {stub:#x}; mov rax, {reg}; pop rbx; ret"
        assert run(machine, entry.assemble(text, BASE)) == want
    machine.on_ask = None


def test_thunks_are_native_code(machine: Machine) -> None:
    thunk = machine.symbol("__x86_indirect_thunk_r11")
    back = machine.symbol("__x86_return_thunk")
    text = f"lea r11, [rip + 5]; jmp {thunk:#x}; mov eax, 9; jmp {back:#x}"
    assert run(machine, entry.assemble(text, BASE)) == 9


def test_scan_finds_the_bytes_at_any_offset_and_nothing_in_ordinary_code() -> None:
    assert forbidden.scan([(BASE, b"\x55\x48\x89\xe5\xc9\xc3")]) == ([], False)
    spans, vectors = forbidden.scan([(BASE, b"\x90" * 9 + b"\x0f\xc7\xf0" + b"\xc4\xe2\xf1\xf7\xc0")])
    assert spans == [(BASE + 5, BASE + 9)]
    assert vectors
    many = b"\x0f\x01\x90\x90\x90\x90\x90\x90" * 500
    assert len(forbidden.scan([(BASE, many)])[0]) == 1
    assert forbidden.name_of(b"\x0f\xc7\xf0", BASE) == "rdrand"
    assert forbidden.name_of(b"\x90", BASE) == ""


def test_memory_stays_flat_over_thousands_of_programs(machine: Machine) -> None:
    def many(count: int) -> None:
        for i in range(count):
            assert run(machine, b"\xb8" + i.to_bytes(4, "little") + b"\xeb\x00\xeb\x00\xc3") == i

    many(2500)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many(5000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096  # KiB


def test_fault_tolerant_load_clears_its_register_and_goes_on(machine: Machine) -> None:
    code = entry.assemble("mov ecx, 3; l: mov rax, 0x10; mov rax, [rax]; add rax, rcx; loop l; ret", BASE)
    at = BASE + code.index(bytes.fromhex("488b00"))
    machine.load(object(), [(BASE, code)], {at: (3, "rax")})
    assert machine.execute(0).done
    assert machine.control.exit().rax == 1
    machine.load(object(), [(BASE, code)])
    stop = machine.execute(0)
    assert (stop.done, stop.rip, stop.addr) == (False, at, 0x10)
