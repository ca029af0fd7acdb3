"""Text to instructions and programs: forms by their bytes, the text format, and errors by line and column."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import exceptions
from bpf.asm import Expectation, assemble, parse
from bpf.btf_plain import lock_of
from bpf.btf_types import Kind
from bpf.codec import encode
from bpf.errors import InputError
from bpf.insn import Insn
from bpf.listing import disassemble
from bpf.maps import MapSpec, MapType
from bpf.program import KfuncRef, RunInput

FIXTURES = Path(__file__).parents[2] / "fixtures/text"

# Each line: text, and the bytes that it must become. The kernel's and LLVM's spelling of a form stand together.
PAIRS = """
r1 = 5                                          b7 01 00 00 05 00 00 00
r1=0xffffffff                                   b7 01 00 00 ff ff ff ff
w1 = -1                                         b4 01 00 00 ff ff ff ff
r1 = 0x5 ll                                     18 01 00 00 05 00 00 00 00 00 00 00 00 00 00 00
r1 = -1 ll                                      18 01 00 00 ff ff ff ff 00 00 00 00 ff ff ff ff
r1 = 0x1122334455667788                         18 01 00 00 88 77 66 55 00 00 00 00 44 33 22 11
0: (18) r1 = 0x5                                18 01 00 00 05 00 00 00 00 00 00 00 00 00 00 00
7: (b7) r1 = 5                                  b7 01 00 00 05 00 00 00
12:	b7 01 00 00 05 00 00 00	r1 = 0x5            b7 01 00 00 05 00 00 00
r1 = r2                                         bf 21 00 00 00 00 00 00
w1 = w2                                         bc 21 00 00 00 00 00 00
r1 = (s8)r2                                     bf 21 08 00 00 00 00 00
r1 = (s32) r2                                   bf 21 20 00 00 00 00 00
w1 = (s16)w2                                    bc 21 10 00 00 00 00 00
r1 += r2                                        0f 21 00 00 00 00 00 00
r1 -= -8                                        17 01 00 00 f8 ff ff ff
w3 *= w4                                        2c 43 00 00 00 00 00 00
r1 /= 3                                         37 01 00 00 03 00 00 00
r1 s/= 3                                        37 01 01 00 03 00 00 00
w1 s%= w2                                       9c 21 01 00 00 00 00 00
r1 |= 1                                         47 01 00 00 01 00 00 00
r1 &= r2                                        5f 21 00 00 00 00 00 00
r1 <<= 32                                       67 01 00 00 20 00 00 00
w1 >>= 3                                        74 01 00 00 03 00 00 00
r1 s>>= r2                                      cf 21 00 00 00 00 00 00
r1 ^= -1                                        a7 01 00 00 ff ff ff ff
r1 %= r2                                        9f 21 00 00 00 00 00 00
r1 = -r1                                        87 01 00 00 00 00 00 00
w1 = -w1                                        84 01 00 00 00 00 00 00
r1 = be16 r1                                    dc 01 00 00 10 00 00 00
r1 = le64 r1                                    d4 01 00 00 40 00 00 00
r1 = bswap32 r1                                 d7 01 00 00 20 00 00 00
r1 = addr_space_cast(r2, 0, 1)                  bf 21 01 00 01 00 00 00
r1 = addr_space_cast(r2, 0x1, 0x0)              bf 21 01 00 00 00 01 00
r1 = &(void __percpu *)(r2)                     bf 21 ff ff 00 00 00 00
r1 = *(u64 *)(r11 +8)                           79 b1 08 00 00 00 00 00
r1 = *(u64 *)(r11 + 0x8)                        79 b1 08 00 00 00 00 00
w1 = *(u8 *)(r2 - 4)                            71 21 fc ff 00 00 00 00
r1 = *(s16 *)(r2 +0)                            89 21 00 00 00 00 00 00
r1 = *(u32 *)(r2)                               61 21 00 00 00 00 00 00
*(u64 *)(r11 -8) = r2                           7b 2b f8 ff 00 00 00 00
*(u64 *)(r11 - 0x10) = 6                        7a 0b f0 ff 06 00 00 00
*(u16 *)(r1+2)=w3                               6b 31 02 00 00 00 00 00
*(u8 *)(r10 -1) = r3                            73 3a ff ff 00 00 00 00
r0 = *(u8 *)skb[14]                             30 00 00 00 0e 00 00 00
r0 = *(u16 *)skb[r7 + 12]                       48 70 00 00 0c 00 00 00
r0 = *(u32 *)skb[r7 + -4]                       40 70 00 00 fc ff ff ff
r0 = *(u32 *)skb[r7]                            40 70 00 00 00 00 00 00
lock *(u64 *)(r1 +0) += r2                      db 21 00 00 00 00 00 00
lock *(u32 *)(r1 + 0x4) ^= w2                   c3 21 04 00 a0 00 00 00
r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)     db 21 00 00 01 00 00 00
r2 = atomic_fetch_or((u32 *)(r1 +0), r2)        c3 21 00 00 41 00 00 00
w2 = atomic_fetch_and((u32 *)(r1 + 0x0), w2)    c3 21 00 00 51 00 00 00
r2 = atomic_fetch_xor((u64 *)(r1 + 0x0), r2)    db 21 00 00 a1 00 00 00
r2 = atomic64_xchg((u64 *)(r1 -8), r2)          db 21 f8 ff e1 00 00 00
r2 = xchg_64(r1 - 0x8, r2)                      db 21 f8 ff e1 00 00 00
w2 = xchg32_32(r1 + 0x0, w2)                    c3 21 00 00 e1 00 00 00
r0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r2)   db 21 00 00 f1 00 00 00
r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)     c3 21 00 00 f1 00 00 00
w0 = cmpxchg32_32(r1 + 0x0, w0, w2)             c3 21 00 00 f1 00 00 00
r1 = load_acquire((u64 *)(r2 +0))               db 21 00 00 00 01 00 00
w1 = load_acquire((u8 *)(r2 + 0x1))             d3 21 01 00 00 01 00 00
store_release((u16 *)(r1 +2), r3)               cb 31 02 00 10 01 00 00
goto pc+1                                       05 00 01 00 00 00 00 00
goto +0x1 <LBB0_2>                              05 00 01 00 00 00 00 00
gotol pc-2                                      06 00 00 00 fe ff ff ff
gotox r3                                        0d 03 00 00 00 00 00 00
may_goto pc+3                                   e5 00 03 00 00 00 00 00
may_goto +3                                     e5 00 03 00 00 00 00 00
if r1 == 0 goto pc+5                            15 01 05 00 00 00 00 00
if r1 s> 0xfffffffe goto pc-1                   65 01 ff ff fe ff ff ff
if w1 & w2 goto +1                              4e 21 01 00 00 00 00 00
if r1 s<= r2 goto -3                            dd 21 fd ff 00 00 00 00
if w9 != -5 goto pc+0                           56 09 00 00 fb ff ff ff
call 1                                          85 00 00 00 01 00 00 00
call #1                                         85 00 00 00 01 00 00 00
call bpf_map_lookup_elem                        85 00 00 00 01 00 00 00
call bpf_map_lookup_elem#1                      85 00 00 00 01 00 00 00
call unknown#9999                               85 00 00 00 0f 27 00 00
call pc+3                                       85 10 00 00 03 00 00 00
call -1                                         85 10 00 00 ff ff ff ff
call kernel-function#42                         85 20 00 00 2a 00 00 00
call okf_sum8#42@3                              85 20 03 00 2a 00 00 00
callx r1                                        8d 01 00 00 00 00 00 00
exit                                            95 00 00 00 00 00 00 00
nospec                                          c2 00 00 00 00 00 00 00
tail_call 2                                     f5 00 00 00 02 00 00 00
probe r1 = *(u64 *)(r2 +8)                      39 21 08 00 00 00 00 00
arena *(u32 *)(r1 +8) = 3                       a2 01 08 00 03 00 00 00
arena w2 = atomic_fetch_add((u32 *)(r1 +0), w2) e3 21 00 00 01 00 00 00
r1 = map[3]                                     18 11 00 00 03 00 00 00 00 00 00 00 00 00 00 00
r1 = map[3][0]+8                                18 21 00 00 03 00 00 00 00 00 00 00 08 00 00 00
r1 = map_idx[2]                                 18 51 00 00 02 00 00 00 00 00 00 00 00 00 00 00
r1 = map_idx[2][0]+4                            18 61 00 00 02 00 00 00 00 00 00 00 04 00 00 00
r1 = btf_id[77]                                 18 31 00 00 4d 00 00 00 00 00 00 00 00 00 00 00
r1 = subprog[pc+5]                              18 41 00 00 05 00 00 00 00 00 00 00 00 00 00 00
ld_pseudo r1, 0x2, 0x800000003                  18 21 00 00 03 00 00 00 00 00 00 00 08 00 00 00
.slot 7b1bf8ff04030201                          7b 1b f8 ff 04 03 02 01
"""


def pairs() -> list[tuple[str, str]]:
    lines = PAIRS.strip().splitlines()
    # the bytes are the last 8 or 16 columns of two hex digits
    made = []
    for line in lines:
        words = line.split()
        count = 16 if len(words) > 16 and all(len(w) == 2 for w in words[-16:]) and words[-16] == "18" else 8
        hexed = " ".join(words[-count:])
        made.append((line[: line.rindex(hexed)].rstrip(), hexed))
    return made


@pytest.mark.parametrize(("text", "hexed"), pairs(), ids=[text for text, _ in pairs()])
def test_bytes(text: str, hexed: str) -> None:
    assert encode(assemble(text)).hex(" ") == hexed


def test_labels() -> None:
    text = """
    start: r1 = 1   ; a label may stand before an instruction
    if r1 == 1 goto done
    r2 = 5 ll       // two slots
    goto start
    gotol done
    call helper
done:
    r3 = helper ll
    exit
helper:
    may_goto start
    exit
    """
    insns = assemble(text)
    assert [insns[k].off for k in (1, 4)] == [5, -5]
    assert [insns[k].imm for k in (5, 6)] == [1, 3]
    assert insns[7] == Insn(0x18, 3, 4, 0, 2)
    assert insns[10].off == -11


def test_a_whole_text() -> None:
    made = parse((FIXTURES / "map_loop12.bpf").read_text(), "map_loop12")
    program = made.program
    elem = (bytes(4), (100).to_bytes(8, "little"))
    assert program.maps == (MapSpec("out", MapType.ARRAY, 4, 8, 2, elems=(elem,), dump=True),)
    assert (program.name, program.prog_type, program.section) == ("map_loop12", "sched_cls", "tc")
    assert program.btf is not None
    assert [program.btf.linkage(info.type_id) for info in program.func_info] == [1, 0]
    mix = program.btf.prototype(program.func_info[1].type_id)
    assert (mix.name, len(mix.params), str(mix.params[5].type)) == ("mix", 12, "s64")
    assert program.insns[program.func_info[1].insn] == Insn(0x79, 0, 11, 24)
    assert made.runs == (RunInput(bytes(64)), RunInput(bytes(64), repeat=1))
    assert made.expect == Expectation(True, retvals=(114, 114), line=50)
    assert str(made.expect) == "expect: accepted, retval 114 114"


def test_kfuncs() -> None:
    text = "extern other_kfunc module m\ncall okf_sum8\ncall other_kfunc\nexit"
    program = parse(text, "x").program
    assert program.kfuncs == (KfuncRef(0, "okf_sum8", "oracle_kfunc"), KfuncRef(1, "other_kfunc", "m"))
    assert program.insns[:2] == (Insn(0x85, 0, 2), Insn(0x85, 0, 2))
    assert program.btf is None


def test_a_declared_kfunc_that_no_table_knows_has_its_prototype_in_btf() -> None:
    seven = "u64 mine(u64 a, u32 b, u64 *c, u64 d, u64 e, u64 f, s8 g)"
    text = f"extern {seven} module m\nextern u64 okf_sum5(u64 a)\nextern u64 unused(u64 a)\ncall mine\ncall okf_sum5\nexit"
    program = parse(text, "x").program
    assert program.btf is not None
    found = program.btf.find("mine", Kind.FUNC)
    assert found is not None
    assert str(program.btf.prototype(found)) == seven
    assert program.btf.find("okf_sum5", Kind.FUNC) is None  # the kernel's own counts
    assert program.btf.find("unused", Kind.FUNC) is None
    assert f"extern {seven} module m" in disassemble(program)
    assert parse(disassemble(program), "x").program == program


def test_several_programs() -> None:
    text = """
    map jumps: prog_array key 4 value 4 max 2
        progs 1 = other
    prog tc name first
    r2 = map[jumps]
    exit
    prog xdp name other flags 8
    map mine: hash key 4 value 4 max 1
    map nested: hash_of_maps key 4 value 4 max 2
        inner "": array key 4 value 8 max 1
        maps 0 = mine
    r2 = map[mine]
    exit
    """
    first, other = parse(text, "x").programs
    assert (first.name, [m.name for m in first.maps]) == ("first", ["jumps"])
    assert first.maps[0].progs == ((1, "other"),)
    assert (other.prog_type, other.expected_attach_type, other.prog_flags) == ("xdp", 37, 8)
    assert [m.name for m in other.maps] == ["jumps", "mine", "nested"]
    assert other.maps[2].inner == MapSpec("", MapType.ARRAY, 4, 8, 1)
    assert other.maps[2].inner_maps == ((0, "mine"),)
    assert [p.insns[0].imm for p in (first, other)] == [0, 1]


def test_a_lock_and_who_takes_exceptions() -> None:
    text = """
    map shared: array key 4 value 16 max 1 dump
    prog tc name first catches taker
    map guarded: array key 4 value 32 max 1 lock 8
    int main(void):
        r1 = map[guarded][0]+8
        exit
    int taker(u64 cookie):
        exit
    prog tc name second
    map numbered: array key 4 value 32 max 1 btf_key 3 btf_value 4
    exit
    """
    first, second = parse(text, "x").programs
    assert exceptions.name(first) == "taker"
    assert exceptions.callback(first) == 3
    assert [lock_of(spec, first.btf) for spec in first.maps] == [None, 8]
    assert first.btf is not None
    value = first.btf.type(first.maps[1].btf_value)
    assert (value.size, [(one.name, one.offset) for one in value.members]) == (32, [("lock", 64)])
    assert parse(disassemble(first), "x").program == first
    assert exceptions.name(second) is None
    assert (second.maps[1].btf_key, second.maps[1].btf_value) == (3, 4)
    assert [lock_of(spec, second.btf) for spec in second.maps] == [None, None]


def test_sections_and_types() -> None:
    assert parse("prog syscall\nexit", "x").program.prog_flags == 16
    bare = parse('prog type syscall license "Dual BSD/GPL"\nexit', "x").program
    assert (bare.prog_flags, bare.section, bare.license) == (0, "", "Dual BSD/GPL")
    traced = parse("prog fentry/tcp_connect\nexit", "x").program
    assert (traced.prog_type, traced.attach_to) == ("tracing", "tcp_connect")
    assert parse("prog sched_act\nexit", "x").program.section == ""
    assert parse("exit", "x").program.prog_type == "sched_cls"


def test_inputs_and_expectations() -> None:
    text = "exit\ninput: data 00ff*3 01 ctx empty repeat 2 flags 1 data_out 5 ctx_out 6\ninput:\n"
    made = parse(text + 'expect: rejected EACCES, "R1 !read_ok; really"', "x")
    assert made.runs == (RunInput(bytes.fromhex("00ff00ff00ff01"), b"", 2, 1, 5, 6), RunInput())
    assert made.expect == Expectation(False, "EACCES", "R1 !read_ok; really", line=4)
    failing = parse("exit\nexpect: accepted, run EINVAL, retval -1 2", "x").expect
    assert failing == Expectation(True, run_errno="EINVAL", retvals=(0xFFFFFFFF, 2), line=2)
    assert str(failing) == "expect: accepted, run EINVAL, retval 4294967295 2"


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("r1 = 5\n  r16 = 5", "line 2, column 3", "unknown instruction 'r16'"),
        ("r1 = ", "line 1, column 5", "expected a value, not the end of the line"),
        ("r1 = 5 6", "line 1, column 8", "unexpected '6' behind a complete line"),
        ("r1 = 0x", "line 1, column 6", "malformed number"),
        ("r1 = 12ab", "line 1, column 6", "malformed number"),
        ("r1 += 4294967296", "line 1, column 7", "an immediate must lie in -2147483648..4294967295, not 4294967296"),
        ("r1 = 18446744073709551616", "line 1, column 6", "an immediate must lie in -9223372036854775808..18446744073709551615, not 18446744073709551616"),
        ("r1 = " + "9" * 100, "line 1, column 6", "number of 100 digits"),
        ("w1 = r2", "line 1, column 6", "expected w2, not 'r2': both operands have the same width"),
        ("w1 = 5 ll", "line 1, column 6", "a 64-bit immediate needs an r register"),
        ("r1 = -r2", "line 1, column 7", "this operation reads and writes the same register"),
        ("r1 = be16 r2", "line 1, column 11", "this operation reads and writes the same register"),
        ("w1 = (s32)w2", "line 1, column 7", "a w register has no more than 32 bits to extend to"),
        ("r1 = *(u64 *)(r2 +40000)", "line 1, column 18", "a displacement must lie in -32768..32767, not 40000"),
        ("r1 = *(u65 *)(r2 +4)", "line 1, column 8", "expected u8, u16, u32, u64, s8, s16 or s32, not 'u65'"),
        ("*(s8 *)(r1 +0) = 1", "line 1, column 2", "this access is never signed"),
        ("*(u64 *)(r1 +0) = w2", "line 1, column 21", "a store of u64 takes an r register"),
        ("lock *(u8 *)(r1 +0) += r2", "line 1, column 7", "an atomic operation is on u32 or u64"),
        ("r3 = atomic64_xchg((u64 *)(r1 +0), r2)", "line 1, column 36", "the old value goes to the register that was added"),
        ("if r1 = 5 goto pc+1", "line 1, column 7", "expected one of == > >= & != s> s>= < <= s< s<=, not '='"),
        ("goto 5", "line 1, column 6", "expected a label or a distance such as pc+2, not '5'"),
        ("goto pc+40000", "line 1, column 8", "the distance must lie in -32768..32767, not 40000"),
        ("goto nowhere", "line 1, column 6", "no label 'nowhere' in this function"),
        ("call nothing", "line 1, column 6", "no function, helper or kfunc 'nothing' (declare a kfunc with extern)"),
        ("call bpf_map_lookup_elem#2", "line 1, column 6", "bpf_map_lookup_elem is helper 1, not 2"),
        ("r1 = map[out]", "line 1, column 10", "no map 'out'"),
        ("r1 = out ll", "line 1, column 6", "no map or function 'out'"),
        ("l: exit\nl: exit", "line 2, column 1", "label 'l' is already defined in this function"),
        ("(bf) r1 = 5", "line 1, column 6", "this is opcode b7, not bf"),
        ("hello world", "line 1, column 1", "unknown instruction 'hello'"),
        ("r1 = 5 §", "line 1, column 8", "unexpected character '\\xa7'"),
        (".slot b7", "line 1, column 7", "a slot has 8 bytes, not 1"),
        (".slot b7z", "line 1, column 7", "expected an instruction as hex digits"),
        ("prog nonsense\nexit", "line 1, column 6", "'nonsense' is neither a section nor a program type"),
        ("prog tc colour 5", "line 1, column 9", "expected one of name license attach_to type section catches flags expected_attach_type attach_btf_id, not 'colour'"),
        ("map m: rainbow key 4", "line 1, column 8", "unknown map type 'rainbow'"),
        ("map m: array key 4\nmap m: array key 4", "line 2, column 5", "map 'm' is already declared"),
        ("elem 00 = 00", "line 1, column 1", "this belongs behind a line that declares a map"),
        ("map m: array key 4\nelem 000 = 00", "line 2, column 6", "a key: an odd number of hex digits"),
        ("input: data 00*99999999999", "line 1, column 13", "data: more than 16777216 bytes"),
        ("expect: maybe", "line 1, column 9", "expected 'accepted' or 'rejected', not 'maybe'"),
        ("expect: accepted\nexpect: accepted", "line 2, column 1", "there is an expectation in line 1 already"),
        ('expect: rejected EINVAL, "open', "line 1, column 26", 'this string has no closing "'),
        ("long f(long a, u46 b):\nexit", "line 1, column 16", "unknown type 'u46'"),
        ("long f():\nexit\nlong f():\nexit", "line 3, column 1", "function 'f' is already defined"),
        ("\n  long f(" + ", ".join(f"long a{k}" for k in range(13)) + "):", "line 2, column 3", "f() has 13 parameters; the limit is 12"),
        ("; nothing", "", "there is no instruction in this text"),
        ("goto far\n" + "exit\n" * 32768 + "far:\nexit", "line 1, column 6", "label 'far' is 32768 instructions away, more than 16 bits hold"),
    ],
)  # fmt: skip
def test_errors(text: str, where: str, why: str) -> None:
    with pytest.raises(InputError) as error:
        parse(text, "x")
    assert (error.value.where, error.value.why) == (where, why)


def test_names_that_bare_instructions_cannot_have() -> None:
    for text in ("r1 = map[out]", "call okf_sum8"):
        with pytest.raises(InputError, match=r"^x: line 1, column \d"):
            assemble(text, "x")


def test_line_breaks_and_digits_of_other_scripts() -> None:
    assert len(assemble("exit\r\nexit\r\n")) == 2
    for text in ("exit\u2028exit", "exit\x0cexit", "r1 = \u0665"):
        with pytest.raises(InputError, match=r"line 1, column \d: unexpected character"):
            assemble(text)


WORDS = st.sampled_from(
    [
        "r1",
        "r10",
        "w2",
        "r11",
        "=",
        "+=",
        "(",
        ")",
        "*",
        "u64",
        "s8",
        "-8",
        "+8",
        "0x5",
        "ll",
        "goto",
        "if",
        "call",
        "l0:",
        "l0",
        ";",
        "map",
        "out:",
        "array",
        "key",
        "4",
        "prog",
        "tc",
        "long",
        "f(int",
        "a):",
        "exit",
        "lock",
        "skb",
        "[",
        "]",
        ",",
        "==",
        "pc+1",
        '"x"',
        "elem",
        "00",
        "input:",
        "expect:",
        "accepted",
        "inner:",
        ".slot",
        "b7",
        "extern",
        "subprog[",
        "static",
        "void",
        "\n",
    ]
)


@settings(max_examples=60)
@given(st.lists(WORDS, max_size=30).map(" ".join))
def test_hostile_text_is_only_ever_an_input_error(text: str) -> None:
    with suppress(InputError):
        assert parse(text, "x").programs


@settings(max_examples=60)
@given(st.text(max_size=60))
def test_hostile_characters_are_only_ever_an_input_error(text: str) -> None:
    with suppress(InputError):
        assert parse(text, "x").programs


def test_the_examples_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs/text-format.md").read_text()
    (example,) = [block.partition("```")[0] for block in page.split("```bpf\n")[1:]]
    made = parse(example, "example")
    assert len(made.program.insns) == 17
    assert made.expect == Expectation(True, retvals=(16,), line=29)
    table = page.partition("| kernel | LLVM |\n|---|---|\n")[2].partition("\n\n")[0]
    for row in table.splitlines():
        kernel, llvm = (cell.strip() for cell in row.strip("|").split(" | "))
        spellings = {assemble(cell.strip("`")) for cell in (kernel.rpartition(", or ")[2], llvm)}
        assert len(spellings) == 1, row
