"""The expectations that a selftest program carries as decl tags on its FUNC.

A tag reads `comment:N:test_NAME` or `comment:N:test_NAME=VALUE`; N counts the tags of an object in the order of the
source, which matters for messages. Source: progs/bpf_misc.h and parse_test_spec() of test_loader.c of the kernel's
selftests.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bpf.btf import Btf, Kind
from bpf.errors import InputError
from emu.selftest.messages import Message

FLAGS: Final = {
    "BPF_F_STRICT_ALIGNMENT": 1 << 0,
    "BPF_F_ANY_ALIGNMENT": 1 << 1,
    "BPF_F_TEST_RND_HI32": 1 << 2,
    "BPF_F_TEST_STATE_FREQ": 1 << 3,
    "BPF_F_SLEEPABLE": 1 << 4,
    "BPF_F_XDP_HAS_FRAGS": 1 << 5,
    "BPF_F_XDP_DEV_BOUND_ONLY": 1 << 6,
    "BPF_F_TEST_REG_INVARIANTS": 1 << 7,
}
POINTER_VALUE: Final = 0xBADCAFE  # a result that is an address: any will do
ARCH: Final = "X86_64"

_TAG: Final = re.compile(r"comment:(?:(\d+):)?(test_\w+|load_mode)(?:=(.*))?", re.DOTALL)
_NUMBERS: Final = {"_INT_MIN": -(1 << 31), "INT_MIN": -(1 << 31), "INT_MAX": (1 << 31) - 1}
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]+|[+-]?[0-9]+")
# Tags that say something of a load by a privileged user, and those of an unprivileged one.
_PRIVILEGED: Final = frozenset(
    {"test_expect_failure", "test_expect_success", "test_auxiliary", "test_expect_msg", "test_expect_not_msg",
     "test_expect_xlated", "test_retval"}
)  # fmt: skip
_UNPRIVILEGED: Final = frozenset({"test_auxiliary_unpriv", "test_caps_unpriv"} | {
    f"{name}_unpriv" for name in _PRIVILEGED
})  # fmt: skip
# Expectations that need something other than a verdict, a log, code and a result.
_NEEDS: Final = {
    "test_expect_stderr": "the program's error stream",
    "test_expect_stdout": "the program's output stream",
    "test_btf_path": "CO-RE relocations against another object's BTF",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """What one program expects of a privileged load.

    success: None when only unprivileged users are asked. xlated, jited: texts in the rewritten program and in the
    native code. unprivileged: whether an unprivileged user is asked, too (or alone). btf_from: object whose BTF names
    the parameters of the program's functions. interpreted: for a kernel without JIT only. needs: what we cannot judge.
    bad: why the expectations cannot be read, "" when they can.
    """

    program: str
    success: bool | None
    messages: tuple[Message, ...] = ()
    xlated: tuple[Message, ...] = ()
    jited: tuple[Message, ...] = ()
    retval: int | None = None
    flags: int = 0
    cleared_flags: int = 0
    log_level: int = 0
    description: str = ""
    auxiliary: bool = False
    arches: tuple[str, ...] = ()
    btf_from: str = ""
    linear_size: int | None = None
    unprivileged: bool = False
    interpreted: bool = False
    needs: tuple[str, ...] = ()
    bad: str = ""


def read_specs(btf: Btf) -> list[Spec]:
    """The expectations of every FUNC that has some, in the order of the source."""
    found: list[tuple[int, Spec]] = []
    for tid, func in enumerate(btf.types):
        if func.kind != Kind.FUNC:
            continue
        tags = []
        for text, component in btf.decl_tags(tid):
            match = _TAG.fullmatch(text)
            if match and component < 0:
                tags.append((int(match[1] or 0), match[2], match[3] or ""))
        if tags:
            tags.sort(key=lambda tag: tag[0])
            found.append((tags[0][0], _spec(func.name, [(name, value) for _, name, value in tags])))
    found.sort(key=lambda item: item[0])
    return [spec for _, spec in found]


def _spec(program: str, tags: list[tuple[str, str]]) -> Spec:
    try:
        return _read(program, tags)
    except InputError as error:
        return Spec(program, None, bad=str(error))


def _read(program: str, tags: list[tuple[str, str]]) -> Spec:
    values = dict(tags)
    names = [name for name, _ in tags]
    jited = _native(tags)
    unprivileged = bool(_UNPRIVILEGED & set(names))
    set_flags, cleared = _flags([value for name, value in tags if name == "test_prog_flags"])
    wanted = {"test_expect_msg": True, "test_expect_not_msg": False}
    return Spec(
        program,
        success=_success(names) if jited or _PRIVILEGED & set(names) or not unprivileged else None,
        messages=tuple(Message(value, wanted[name]) for name, value in tags if name in wanted),
        xlated=_adjoining([value for name, value in tags if name == "test_expect_xlated"]),
        jited=jited,
        retval=_number(values["test_retval"]) if "test_retval" in values else None,
        flags=set_flags,
        cleared_flags=cleared,
        log_level=_number(values.get("test_log_level", "0")),
        description=values.get("test_description", ""),
        auxiliary="test_auxiliary" in names or "test_auxiliary_unpriv" in names,
        arches=tuple(value for name, value in tags if name == "test_arch"),
        btf_from=values.get("test_btf_func_path", ""),
        linear_size=_number(values["test_linear_size"]) if "test_linear_size" in values else None,
        unprivileged=unprivileged,
        interpreted=values.get("load_mode") == "no_jited",
        needs=tuple(dict.fromkeys(_NEEDS[name] for name in names if name in _NEEDS)),
    )


def _success(names: Sequence[str]) -> bool:
    """The last one of the two tags counts; a program without either is expected to load."""
    verdicts = [name for name in names if name in ("test_expect_failure", "test_expect_success")]
    return not verdicts or verdicts[-1] == "test_expect_success"


def _native(tags: Sequence[tuple[str, str]]) -> tuple[Message, ...]:
    """The texts for our architecture: those behind the tag that names it."""
    texts, ours = [], False
    for name, value in tags:
        if name == "test_arch":
            ours = value == ARCH
        elif name == "test_jited" and ours:
            texts.append(value)
    return _adjoining(texts)


def _adjoining(texts: Sequence[str]) -> tuple[Message, ...]:
    """Texts of which each is in the line after the one before it, but for those behind a "..."."""
    messages, adjoining = [], True
    for text in texts:
        if text != "...":
            messages.append(Message(text, adjoining=adjoining))
        adjoining = text != "..."
    return tuple(messages)


def _number(text: str) -> int:
    """A number as strtol reads it, of base 16 behind "0x". Raises InputError."""
    if text in _NUMBERS:
        return _NUMBERS[text]
    if not _NUMBER.fullmatch(text):
        raise InputError("its expectations", "", f"{text!r} is no number")
    return int(text, 16 if text.startswith("0x") else 10)


def _flags(texts: list[str]) -> tuple[int, int]:
    """(flags set, flags cleared): names or numbers; `!` in front of one clears it."""
    on = off = 0
    for text in texts:
        clear = text.startswith("!")
        name = text.removeprefix("!")
        value = FLAGS[name] if name in FLAGS else _number(name)
        if clear:
            on, off = on & ~value, off | value
        else:
            on, off = on | value, off & ~value
    return on, off
