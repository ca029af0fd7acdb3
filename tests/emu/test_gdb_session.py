"""The server by its own protocol: what packets do, and that no bytes of a client do anything else."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf.program import RunInput
from emu.gdb.protocol import PACKET_SIZE, framed
from emu.gdb.registers import NUMBERS, REGISTERS
from emu.load import load_file
from emu.sandbox import addresses
from tests.emu.gdb_kit import SECONDS, TEXTS, Client, Served, register, request_of

REVERSE = load_file(str(TEXTS / "reverse12.bpf"))[0].request
ENDLESS = request_of(
    """
    prog syscall
    int main(void *ctx):
        r0 = 0
    again:
        r1 = 1
        goto again
    """
)
OFFSETS = [sum(one.size for one in REGISTERS[:number]) for number in range(len(REGISTERS))]
RIP, RSP, RAX, EFLAGS = (NUMBERS[name] for name in ("rip", "rsp", "rax", "eflags"))
STOPPED = b"T05"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(REVERSE, tmp_path) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.port) as one:
        yield one


def _function(served: Served, name: str) -> int:
    return next(one.addr for one in served.target.engine.code.functions if one.name == name)


def _stub(served: Served, name: str) -> int:
    return served.target.machine.symbol(name)


def _reg(client: Client, number: int) -> int:
    return register(client.ask("g"), number, OFFSETS)


def _word(value: int) -> str:
    return value.to_bytes(8, "little").hex()


# ---- the way of a session


def test_a_run_from_start_to_end(client: Client) -> None:
    features = client.ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386").decode().split(";")
    assert f"PacketSize={PACKET_SIZE:x}" in features
    assert {"qXfer:features:read+", "swbreak+", "hwbreak+", "vContSupported+", "QStartNoAckMode+"} <= set(
        features
    )
    stop = client.ask("?")
    assert stop.startswith(STOPPED)
    assert f"{RIP:02x}:{_word(addresses.IMAGE)};".encode() in stop
    assert client.ask("vCont?") == b"vCont;c;C;s;S;t;r"
    assert client.ask("vCont;c") == b"W00"
    assert client.ended()


def test_the_result_is_the_programs_own(served: Served) -> None:
    with Client(served.port) as client:
        assert client.ask("c") == b"W00"
    served.__exit__(None, None, None)
    assert served.r0 == 364


def test_without_acks_nothing_is_acknowledged(client: Client) -> None:
    assert client.ask("QStartNoAckMode") == b"OK"
    client.raw(b"$qC#00")
    assert client.byte() == b"$"
    assert client.byte() == b"Q"


def test_the_description_of_the_target_has_all_registers(client: Client) -> None:
    text, at = b"", 0
    while True:
        part = client.ask(f"qXfer:features:read:target.xml:{at:x},100")
        text, at = text + part[1:], at + len(part) - 1
        if part[:1] == b"l":
            break
    for name in ("rax", "r15", "rip", "eflags", "gs", "fs_base", "gs_base"):
        assert f'name="{name}"'.encode() in text
    assert text.count(b"<reg ") == len(REGISTERS)
    assert client.ask("qXfer:features:read:other.xml:0,100") == b"E00"


def test_the_path_of_the_symbols_is_told(served: Served, client: Client) -> None:
    assert client.ask("qXfer:exec-file:read::0,1000") == b"l" + str(served.elf).encode()


def test_questions_about_threads(client: Client) -> None:
    assert client.ask("qC") == b"QC1"
    assert client.ask("qfThreadInfo") == b"m1"
    assert client.ask("qsThreadInfo") == b"l"
    assert client.ask("Hg0") == client.ask("Hc-1") == client.ask("T1") == b"OK"
    assert client.ask("Hg7").startswith(b"E")
    assert client.ask("qAttached") == b"1"
    assert client.ask("vMustReplyEmpty") == client.ask("qOffsets") == client.ask("!") == b""


# ---- registers and memory


def test_registers_are_read_and_written(client: Client) -> None:
    everything = client.ask("g")
    assert register(everything, RIP, OFFSETS) == addresses.IMAGE
    assert register(everything, RAX, OFFSETS) == addresses.POISON["rax"]
    assert client.ask(f"P{RAX:x}={_word(77)}") == b"OK"
    assert client.ask(f"p{RAX:x}") == _word(77).encode()
    assert client.ask(b"G" + everything) == b"OK"
    assert client.ask("g") == everything


def test_flags_are_written(client: Client) -> None:
    assert client.ask(f"P{EFLAGS:x}=46000000") == b"OK"
    assert int.from_bytes(bytes.fromhex(client.ask(f"p{EFLAGS:x}").decode()), "little") & 0x8D5 == 0x44


def test_registers_of_no_kernel_code_are_not_there(client: Client) -> None:
    assert client.ask(f"p{NUMBERS['st0']:x}") == b"x" * 20
    assert client.ask(f"P{NUMBERS['cs']:x}=00000000").startswith(b"E")


def test_memory_is_read_and_written(client: Client) -> None:
    at = addresses.STACK
    assert client.ask(f"m{at:x},4") == b"a5a5a5a5"
    assert client.ask(f"M{at:x},2:0102") == b"OK"
    assert client.ask(f"X{at + 2:x},2:".encode() + b"}#") == b"OK"
    assert client.ask(f"m{at:x},6") == b"01027d23a5a5"
    assert client.ask(f"X{at:x},0:") == b"OK"


def test_memory_that_is_not_there(client: Client) -> None:
    for where in ("0,8", "ffffffffffffffff,8", f"{addresses.STACK - 8:x},4", "dead0bad00000000,1"):
        assert client.ask(f"m{where}") == b"E0e", where
    assert client.ask("M0,1:00") == b"E0e"
    assert client.ask("Mffffffffffffffff,2:0000") == b"E0e"
    end = addresses.STACK + addresses.STACK_SIZE
    assert client.ask(f"m{end - 4:x},8") == b"a5a5a5a5"  # as much of it as there is


def test_code_may_be_changed(served: Served, client: Client) -> None:
    at = _function(served, "reverse12")
    assert client.ask(f"M{at:x},2:0f0b") == b"OK"  # ud2
    assert client.ask("c").startswith(b"O")  # what is wrong, in words
    assert client.reply().startswith(b"T04")
    assert _reg(client, RIP) == at


def test_error_messages_where_the_client_wants_them(client: Client) -> None:
    client.ask("qSupported:error-message+")
    assert client.ask("m0,8") == b"E.nothing is mapped at 0x0"


# ---- running


def test_a_breakpoint_is_in_the_machine_and_not_in_memory(served: Served, client: Client) -> None:
    at = _function(served, "reverse12")
    before = client.ask(f"m{at:x},20")
    for kind in "01":
        assert client.ask(f"Z{kind},{at:x},1") == b"OK"
    assert client.ask(f"m{at:x},20") == before
    stop = client.ask("c")
    assert stop.startswith(STOPPED)
    assert b"hwbreak" in stop
    assert _reg(client, RIP) == at
    assert client.ask(f"z1,{at:x},1") == client.ask(f"z0,{at:x},1") == b"OK"
    assert client.ask("vCont;c:1") == b"W00"


def test_a_step_into_a_function_and_out_of_it_shows_no_gate(served: Served, client: Client) -> None:
    start = _function(served, "reverse12")
    client.ask(f"Z0,{start:x},1")
    client.ask("c")
    rsp = _reg(client, RSP)
    back = int.from_bytes(bytes.fromhex(client.ask(f"m{rsp:x},8").decode()), "little")
    main = _function(served, "main")
    assert main < back < start
    call = bytes.fromhex(client.ask(f"m{back - 5:x},5").decode())
    assert call[0] == 0xE8
    assert back + int.from_bytes(call[1:], "little", signed=True) == start
    client.ask(f"Z0,{back:x},1")
    assert b"swbreak" in client.ask("c")
    assert (_reg(client, RIP), _reg(client, RAX)) == (back, 364)


def test_a_stub_is_one_step(served: Served, client: Client) -> None:
    stub = _stub(served, "okf_sum12")
    client.ask(f"Z0,{stub:x},1")
    client.ask("c")
    assert _reg(client, RIP) == stub
    client.ask("s")
    assert _reg(client, RAX) == 364
    assert 0 < _reg(client, RIP) - _function(served, "reverse12") < 136


def test_steps_within_a_range(served: Served, client: Client) -> None:
    main = _function(served, "main")
    assert client.ask(f"vCont;r{main:x},{main + 16:x}:1").startswith(STOPPED)
    assert _reg(client, RIP) == main + 16


@pytest.mark.parametrize(("kind", "word"), [("2", b"watch:"), ("4", b"awatch:")])
def test_a_store_of_an_argument_is_seen(kind: str, word: bytes, client: Client) -> None:
    slot = addresses.STACK + addresses.THREAD_SIZE - 0x30  # argument 7 of main's call
    assert client.ask(f"Z{kind},{slot:x},8") == b"OK"
    stop = client.ask("c")
    assert word + f"{slot:x};".encode() in stop
    assert client.ask(f"m{slot:x},8") == _word(7).encode()
    assert client.ask(f"z{kind},{slot:x},8") == b"OK"
    assert client.ask("c") == b"W00"


def test_a_load_of_an_argument_is_seen(client: Client) -> None:
    slot = addresses.STACK + addresses.THREAD_SIZE - 0x28  # argument 8
    client.ask(f"Z3,{slot:x},8")
    assert b"rwatch:" in client.ask("c")


def test_a_client_sees_what_was_poisoned_behind_a_call(client: Client) -> None:
    slot = addresses.STACK + addresses.THREAD_SIZE - 0x28
    client.ask(f"Z2,{slot:x},8")
    client.ask("c")
    assert client.ask(f"m{slot:x},8") == _word(8).encode()
    client.ask("c")
    assert client.ask(f"m{slot:x},8") == _word(addresses.POISON_WORD + 8).encode()


def test_what_cannot_be_watched(client: Client) -> None:
    for where in ("0,0", "ffffffffffffffff,8", "0,1001"):
        assert client.ask(f"Z2,{where}") == b"E16", where
    assert client.ask("Z2,0,8") == b"OK"  # nothing will ever touch it
    assert client.ask("c") == b"W00"


def test_an_interrupt_stops_endless_code(tmp_path: Path) -> None:
    with Served(ENDLESS, tmp_path) as served, Client(served.port) as client:
        client.raw(framed(b"vCont;c"))
        client.raw(b"\x03")
        assert client.reply().startswith(b"T02")
        client.raw(framed(b"k"))
        assert client.byte() == b"+"
        assert client.ended()
    assert served.held is not None
    assert served.held.killed == "the debugger ended the run"


def test_an_interrupt_while_the_program_stands_is_nothing(client: Client) -> None:
    client.raw(b"\x03")
    assert client.ask("?").startswith(STOPPED)
    assert client.ask("c") == b"W00"


def test_seconds_count_while_the_program_runs(tmp_path: Path) -> None:
    with Served(ENDLESS, tmp_path, seconds=0.05) as served, Client(served.port) as client:
        for _ in range(2):
            assert client.ask("c").startswith(b"O")
            assert client.reply().startswith(b"T18")
        assert client.ask("C18") == b"X18"
    assert served.held is not None
    assert served.held.outcome is not None
    trap = served.held.outcome.runs[0].trap
    assert trap is not None
    assert trap.kind == "budget"


def test_a_trap_stops_and_then_ends_the_run(tmp_path: Path) -> None:
    trap = request_of("prog syscall\nint main(void *ctx):\n r1 = 5\n r0 = *(u64 *)(r1 +3)\n exit\n")
    with Served(trap, tmp_path) as served, Client(served.port) as client:
        said = client.ask("c")
        assert b"read of 8 bytes at 0x8" in bytes.fromhex(said[1:].decode())
        assert client.reply().startswith(b"T0b")
        where = _reg(client, RIP)
        assert client.ask("c").startswith(b"O")  # without the signal it is tried again
        assert client.reply().startswith(b"T0b")
        assert _reg(client, RIP) == where
        assert client.ask("vCont;C0b") == b"X0b"


def test_what_traps_may_be_mended(tmp_path: Path) -> None:
    trap = request_of("prog syscall\nint main(void *ctx):\n r1 = 5\n r0 = *(u64 *)(r1 +3)\n exit\n")
    with Served(trap, tmp_path) as served, Client(served.port) as client:
        client.ask("c")
        client.reply()
        client.ask(f"P{NUMBERS['rdi']:x}={_word(addresses.STACK)}")
        assert client.ask("c") == b"W00"
    assert served.r0 == 0xA5A5A5A5A5A5A5A5


def test_one_run_of_several_is_debugged(tmp_path: Path) -> None:
    request = load_file(str(TEXTS / "map_loop12.bpf"))[0].request
    with Served(request, tmp_path, number=2) as served, Client(served.port) as client:
        assert client.ask("c") == b"W00"
    assert served.held is not None
    assert served.held.outcome is not None
    assert [run.retval for run in served.held.outcome.runs] == [114, 114]


def test_a_run_that_is_refused_ends_at_once(tmp_path: Path) -> None:
    refused = request_of("prog syscall\nint main(void *ctx):\n r0 = 0\n exit\n")
    refused = type(refused)(refused.program, (RunInput(ctx_in=b"", repeat=5),))
    with Served(refused, tmp_path) as served, Client(served.port) as client:
        assert client.ask("qSupported").startswith(b"PacketSize")
        assert client.ask("?") == b"W00"
    assert served.held is not None


# ---- ends


def test_detaching_lets_the_program_run_on(served: Served) -> None:
    with Client(served.port) as client:
        client.ask(f"Z0,{_function(served, 'reverse12'):x},1")
        assert client.ask("D") == b"OK"
    served.__exit__(None, None, None)
    assert served.r0 == 364


def test_a_detached_program_does_not_run_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.gdb.target._ALONE", 0.05)
    with Served(ENDLESS, tmp_path) as served, Client(served.port) as client:
        assert client.ask("D") == b"OK"
    assert served.held is not None
    assert served.held.outcome is not None
    assert served.held.outcome.runs[0].trap is not None


def test_a_kill_is_answered_where_an_answer_is_due(served: Served, client: Client) -> None:
    assert client.ask("vKill;1") == b"OK"
    assert client.ended()
    client.socket.close()
    served.__exit__(None, None, None)
    assert served.held is not None
    assert served.held.killed == "the debugger ended the run"


@pytest.mark.parametrize("last", [b"", b"+", b"$m0,", b"$vCont;c#a8", b"\xff" * 1000])
def test_a_client_that_goes_away_ends_the_run(last: bytes, tmp_path: Path) -> None:
    with Served(ENDLESS, tmp_path) as served, Client(served.port) as client:
        client.raw(last)
        client.socket.close()
    assert served.held is not None
    assert served.held.killed == "the debugger went away"


def test_a_second_client_is_refused(served: Served, client: Client) -> None:
    assert client.ask("?").startswith(STOPPED)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port), SECONDS)
    assert client.ask("c") == b"W00"


def test_only_this_machine_can_connect(served: Served) -> None:
    for other in ("127.0.0.2", "::1"):
        with pytest.raises(OSError, match=r"refused|unreachable|assign|not supported"):
            socket.create_connection((other, served.port), SECONDS)
    with Client(served.port) as client:
        assert client.socket.getpeername()[0] == "127.0.0.1"
        assert client.ask("c") == b"W00"


# ---- hostile bytes


HOSTILE = [
    "", "zzz", "g1", "G", "G00", "Gxx", "p", "p-1", "p99", "pffffffffffffffff", "P", "P=", "P0", "P0=", "P0=zz", "P99=00",
    "P10=00", "m", "m,", "m1", "m0", "m0,", "m-1,1", "m0x0,1", "m0,ffffffffffffffff", "m0,1,2", "M", "M0", "M0,1", "M0,1:",
    "M0,1:z", "M0,2:00", "X0", "X0,5:ab", "Xzz,1:a", "Z", "Z0", "Z0,", "Z0,zz,1", "Z0,0", "Z9,0,1", "Z2,0,0",
    "Z2,ffffffffffffffff,ffffffffffffffff", "z", "z0,0,1", "z2,0,8", "H", "Hg", "Hgzz", "T", "Tzz", "q", "qXfer", "qXfer:",
    "qXfer:features:read:target.xml:", "qXfer:features:read:target.xml:zz,1", "qXfer:features:write:target.xml:0,1",
    "qXfer:features:read:target.xml:ffffff,10", "qXfer:auxv:read::0,10", "qRcmd", "qRcmd,", "qRcmd,z", "qRcmd,6", "qRcmd,ff",
    "qSupported", "qSupported:;;==", "Q", "QStartNoAckModeX", "v", "vCont", "vCont;", "vCont;x", "vCont;r", "vCont;r1",
    "vCont;r1,2,3", "vCont;c1", "vCont;t", "vRun;", "vFile:open:61,0,0", "C", "Czz", "S;zz", "szz", "cxyz", "i", "R", "\0", "\xff\xfe",
]  # fmt: skip


def test_malformed_packets_change_nothing_and_break_nothing(client: Client) -> None:
    before = client.ask("g")
    for text in HOSTILE:
        answer = client.ask(text.encode("latin-1"))
        while answer[:1] == b"O" and answer != b"OK":
            answer = client.reply()
        assert client.ask("g") == before, text
    assert client.ask("c") == b"W00"


def test_damaged_packets_are_asked_for_again(client: Client) -> None:
    for damaged in (b"$g#00", b"$g#zz", b"$" + b"m" * 3 * PACKET_SIZE + b"#00"):
        client.raw(b"noise" + damaged)
        assert client.byte() == b"-"
    first = client.ask("qC")
    client.raw(b"-")
    assert client.reply() == first
    assert client.ask("c") == b"W00"
