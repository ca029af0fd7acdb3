"""C texts of what BTF says: types, prototypes, structs. Knows which names a kernel's vmlinux.h has, by kind."""

from collections.abc import Iterable

from bpf.kfuncs import STRUCTS, Struct
from bpf.proto import CType, FuncProto


def declared(proto: FuncProto) -> str:
    """`u64 f(u64 a, s64 *b)`."""
    params = ", ".join(param(p.type, p.name) for p in proto.params) or "void"
    return f"{param(proto.ret, proto.name)}({params})"


def param(type_: CType, name: str) -> str:
    """A type and a name, `s64 *b`."""
    text = c_type(type_)
    return f"{text}{name}" if text.endswith("*") else f"{text} {name}"


def c_type(type_: CType) -> str:
    """A type that vmlinux.h has; integers by their width, pointers to what nobody looks at as void."""
    const = "const " if type_.const and type_.kind != "ptr" else ""
    match type_.kind:
        case "ptr":
            inner = c_type(type_.to) if type_.to is not None else "void"
            return f"{inner}*" if inner.endswith("*") else f"{inner} *"
        case "int":
            return (
                f"{const}{'s' if type_.signed else 'u'}{type_.bits}"
                if type_.bits <= 64
                else f"{const}__int128"
            )
        case "enum":
            return f"{const}{'s' if type_.signed else 'u'}{type_.bits}"
        case "bool":
            return f"{const}bool"
        case "struct" | "union":
            return f"{const}{type_.name}" if type_.name.startswith(type_.kind + " ") else f"{const}void"
        case _:
            return f"{const}{type_.kind}"


def struct_lines(protos: Iterable[FuncProto]) -> list[str]:
    """Names of structs, and what is in those that vmlinux.h does not have."""
    found: dict[str, None] = {}
    for proto in protos:
        for type_ in (proto.ret, *(param.type for param in proto.params)):
            while type_.kind == "ptr" and type_.to is not None:
                type_ = type_.to
            if type_.kind == "struct" and type_.name.startswith("struct "):
                found[type_.name.removeprefix("struct ")] = None
    known = [STRUCTS[name] for name in found if name in STRUCTS and name.startswith("okf_")]
    others = [name for name in found if name not in {one.name for one in known}]
    return [
        *(f"struct {name};\n" for name in others),
        *(f"struct {one.name} {{ {_members(one)} }};\n" for one in known),
    ]


def _members(struct: Struct) -> str:
    return " ".join(f"{param(member.type, member.name)};" for member in struct.members)


def c_string(text: str) -> str:
    """Text within a C string."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
