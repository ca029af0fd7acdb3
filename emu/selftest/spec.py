"""The expectations that a selftest program carries as decl tags on its FUNC.

A tag reads `comment:N:test_NAME` or `comment:N:test_NAME=VALUE`; N counts the tags of an object in the order of the
source, which matters for messages. Source: progs/bpf_misc.h and test_loader.c of the kernel's selftests.
"""

import re
from dataclasses import dataclass

from bpf.btf import Btf, Kind

FLAGS = {
    "BPF_F_STRICT_ALIGNMENT": 1 << 0,
    "BPF_F_ANY_ALIGNMENT": 1 << 1,
    "BPF_F_TEST_RND_HI32": 1 << 2,
    "BPF_F_TEST_STATE_FREQ": 1 << 3,
    "BPF_F_SLEEPABLE": 1 << 4,
    "BPF_F_XDP_HAS_FRAGS": 1 << 5,
    "BPF_F_XDP_DEV_BOUND_ONLY": 1 << 6,
    "BPF_F_TEST_REG_INVARIANTS": 1 << 7,
}
POINTER_VALUE = 0xBADCAFE  # a result that is an address: any will do

_TAG = re.compile(r"comment:(?:(\d+):)?(test_\w+|load_mode)(?:=(.*))?", re.DOTALL)
_REGEX = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Message:
    """A text that the log must hold behind the one before it, or (wanted False) must not hold up to the next."""

    text: str
    wanted: bool = True

    def pattern(self) -> re.Pattern[str]:
        """The text as a regular expression: what stands in {{ }} is one already."""
        parts = _REGEX.split(self.text)
        return re.compile("".join(p if i % 2 else re.escape(p) for i, p in enumerate(parts)), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Spec:
    """What one program expects of a privileged load. success: None when only unprivileged users are asked.

    unprivileged: number of expectations that only an unprivileged user can meet. btf_from: object whose BTF stands for
    the program's functions. needs: names of tags that we cannot judge, with the reason they are kept for.
    """

    program: str
    success: bool | None
    messages: tuple[Message, ...] = ()
    retval: int | None = None
    flags: int = 0
    cleared_flags: int = 0
    log_level: int = 0
    description: str = ""
    auxiliary: bool = False
    arches: tuple[str, ...] = ()
    btf_from: str = ""
    linear_size: int | None = None
    unprivileged: int = 0
    needs: tuple[str, ...] = ()


# Expectations that need something other than a verdict, a log and a result.
_NEEDS = {
    "test_expect_xlated": "the rewritten program's text",
    "test_jited": "the native code's text",
    "test_expect_stderr": "the program's error stream",
    "test_expect_stdout": "the program's output stream",
    "test_btf_path": "CO-RE relocations against another object's BTF",
}


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
    values = dict(reversed(tags))
    names = [name for name, _ in tags]
    success: bool | None = None
    if "test_expect_failure" in names:
        success = False
    elif "test_expect_success" in names or "test_auxiliary" in names:
        success = True
    set_flags, cleared = _flags([value for name, value in tags if name == "test_prog_flags"])
    wanted = {"test_expect_msg": True, "test_expect_not_msg": False}
    return Spec(
        program,
        success,
        messages=tuple(Message(value, wanted[name]) for name, value in tags if name in wanted),
        retval=_number(values["test_retval"]) if "test_retval" in values else None,
        flags=set_flags,
        cleared_flags=cleared,
        log_level=_number(values.get("test_log_level", "0")),
        description=values.get("test_description", ""),
        auxiliary="test_auxiliary" in names,
        arches=tuple(value for name, value in tags if name == "test_arch"),
        btf_from=values.get("test_btf_func_path", ""),
        linear_size=_number(values["test_linear_size"]) if "test_linear_size" in values else None,
        unprivileged=sum(
            name in ("test_expect_success_unpriv", "test_expect_failure_unpriv") for name in names
        ),
        needs=tuple(dict.fromkeys(_NEEDS[name] for name in names if name in _NEEDS)),
    )


def _number(text: str) -> int:
    """A C number, INT_MIN and its like; the low 32 bits of POINTER_VALUE stand for themselves."""
    named = {
        "INT_MIN": -(1 << 31),
        "INT_MAX": (1 << 31) - 1,
        "POINTER_VALUE": POINTER_VALUE,
        "TEST_DATA_LEN": 64,
    }
    text = text.strip()
    if text in named:
        return named[text]
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _flags(texts: list[str]) -> tuple[int, int]:
    """(flags set, flags cleared): names or numbers; `!` in front of one clears it."""
    on = off = 0
    for text in texts:
        name = text.strip()
        clear = name.startswith("!")
        name = name.lstrip("!").strip()
        value = FLAGS.get(name)
        if value is None:
            value = _number(name)
        if clear:
            off |= value
        else:
            on |= value
    return on, off
