"""C declarations of functions to prototypes: `u64 okf_sum8(u64 a, ..., const void *p)`.

The way back is `str(FuncProto)`. Knows the types a BPF calling convention can name, not C at large: no function
pointers (write `void *`), no declarators in parentheses, no typedefs but the usual ones.
"""

from bpf.lexer import Cursor
from bpf.proto import CType, FuncProto, Param

_INTS = {
    (prefix + sign + str(bits)): (bits, sign == "s")
    for prefix in ("", "__")
    for sign in ("u", "s")
    for bits in (8, 16, 32, 64)
} | {
    **{f"__be{bits}": (bits, False) for bits in (16, 32, 64)},
    **{f"__le{bits}": (bits, False) for bits in (16, 32, 64)},
    **{f"uint{bits}_t": (bits, False) for bits in (8, 16, 32, 64)},
    **{f"int{bits}_t": (bits, True) for bits in (8, 16, 32, 64)},
    "size_t": (64, False),
    "ssize_t": (64, True),
    "uintptr_t": (64, False),
    "intptr_t": (64, True),
    "loff_t": (64, True),
    "pid_t": (32, True),
    "gfp_t": (32, False),
    "__wsum": (32, False),
    "__sum16": (16, False),
}
# typedefs of pointers or of functions, which decay to pointers
_POINTER_TYPEDEFS = frozenset({"bpf_task_work_callback_t", "bpf_callback_t"})
_INT_WORDS = frozenset({"int", "long", "short", "char", "signed", "unsigned", "__int128"})
_TAGGED = frozenset({"struct", "union", "enum"})
_QUALIFIERS = frozenset({"const", "volatile", "restrict", "__restrict"})
STORAGE = frozenset({"static", "extern", "global", "inline", "__weak", "__ksym", "__hidden", "__noinline"})
_MAX_POINTERS = 16
MAX_DECL_PARAMS = 64  # more than any caller can mean; how many are allowed is the caller's to say


def parse_decl(text: str, what: str = "declaration") -> FuncProto:
    """The prototype that one line of C declares, with or without `;`. Raises InputError with the column."""
    cur = Cursor(text.rstrip().removesuffix(";"), what)
    _, proto = read_decl(cur)
    cur.end()
    return proto


def parse_type(text: str, what: str = "type") -> CType:
    """The type that `text` names: "const struct okf_pair *"."""
    cur = Cursor(text, what)
    made = _pointers(cur, _base(cur))
    cur.end()
    return made


def read_decl(cur: Cursor) -> tuple[frozenset[str], FuncProto]:
    """A declaration up to its closing parenthesis and attributes: (storage words, prototype)."""
    storage = set()
    while word := cur.accept(*STORAGE):
        storage.add(word)
    ret = _pointers(cur, _base(cur))
    while word := cur.accept(*STORAGE):
        storage.add(word)
    name = cur.word("a name of a function")
    params = _params(cur)
    while word := cur.accept(*STORAGE):
        storage.add(word)
    return frozenset(storage), FuncProto(name, ret, params)


def _params(cur: Cursor) -> tuple[Param, ...]:
    cur.expect("(")
    params: list[Param] = []
    if cur.accept(")"):
        return ()
    while True:
        at = cur.peek_at()
        if cur.accept("..."):
            cur.expect(")")
            return tuple(params)
        param = _param(cur)
        if param.type.kind == "void" and not param.name and not params and cur.peek().text == ")":
            cur.next()
            return ()
        if param.type.kind == "void":
            cur.fail("a parameter cannot be void", at)
        params.append(param)
        if len(params) > MAX_DECL_PARAMS:
            cur.fail(f"more than {MAX_DECL_PARAMS} parameters", at)
        if cur.expect(",", ")") == ")":
            return tuple(params)


def _param(cur: Cursor) -> Param:
    made = _pointers(cur, _base(cur))
    name = cur.next().text if cur.peek().kind == "word" else ""
    if cur.accept("["):  # an array parameter is a pointer
        if cur.at_number():
            cur.number("a number of elements")
        cur.expect("]")
        made = CType("ptr", bits=64, to=made)
    return Param(name, made)


def _pointers(cur: Cursor, made: CType) -> CType:
    at = cur.peek_at()
    depth = 0
    while cur.accept("*"):
        depth += 1
        if depth > _MAX_POINTERS:
            cur.fail(f"more than {_MAX_POINTERS} pointers to pointers", at)
        made = CType("ptr", bits=64, to=made, const=_qualifiers(cur))
    return made


def _base(cur: Cursor) -> CType:
    """A type without its pointers."""
    const = _qualifiers(cur)
    token = cur.peek()
    if token.kind != "word":
        cur.fail(f"expected a type, not {token}")
    if token.text in _INT_WORDS:
        made = _int(cur)
    else:
        cur.next()
        made = _named(cur, token.text, token.at)
    const |= _qualifiers(cur)
    return CType(made.kind, made.name, made.bits, made.signed, made.to, const or made.const)


def _qualifiers(cur: Cursor) -> bool:
    const = False
    while word := cur.accept(*_QUALIFIERS):
        const |= word == "const"
    return const


def _named(cur: Cursor, word: str, at: int) -> CType:
    if word in _TAGGED:
        tag = cur.word(f"a name of a {word}")
        if word == "enum":
            return CType("enum", f"enum {tag}", 32)
        return CType("struct" if word == "struct" else "union", f"{word} {tag}")
    if word == "void":
        return CType("void", "void")
    if word in ("bool", "_Bool"):
        return CType("bool", word, 8)
    if word in ("float", "double"):
        return CType("float", word, 32 if word == "float" else 64)
    if word in _INTS:
        bits, signed = _INTS[word]
        return CType("int", word, bits, signed)
    opaque = CType("void", word)  # a type of which only pointers are used may stay unknown
    if _pointer_follows(cur):
        return opaque
    if word not in _POINTER_TYPEDEFS:
        cur.fail(f"unknown type '{word}'", at)
    return CType("ptr", bits=64, to=opaque)


def _pointer_follows(cur: Cursor) -> bool:
    return cur.text[cur.peek_at() :].removeprefix("const").lstrip().startswith("*")


def _int(cur: Cursor) -> CType:
    """`unsigned long long int` and its spellings, to the name that clang's BTF has."""
    at = cur.peek_at()
    words: list[str] = []
    const = False
    while word := cur.accept(*_INT_WORDS, *_QUALIFIERS):
        if word in _QUALIFIERS:
            const |= word == "const"
        else:
            words.append(word)
    unsigned = words.count("unsigned")
    signed = words.count("signed")
    longs = words.count("long")
    kinds = [word for word in words if word in ("char", "short", "__int128")]
    ints = words.count("int")
    too_many = (
        unsigned + signed > 1 or longs > 2 or len(kinds) > 1 or ints > 1 or (longs > 0 and len(kinds) > 0)
    )
    if too_many or (ints and kinds and kinds[0] != "short"):
        cur.fail(f"'{' '.join(words)}' is no type of C", at)
    base = " ".join(["long"] * longs) or (kinds[0] if kinds else "int")
    bits = {"char": 8, "short": 16, "int": 32, "__int128": 128}.get(base, 64)
    prefix = "unsigned " if unsigned else "signed " if signed and base == "char" else ""
    return CType("int", prefix + base, bits, not unsigned, const=const)
