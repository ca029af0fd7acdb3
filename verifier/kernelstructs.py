"""Layouts of structs of a 7.3.4 kernel (Debian, amd64) that programs may look into. A table and nothing else.

A struct is its name, its size in bytes, "union" for unions, and its members NAME@OFFSET=TYPE; "-" has no name; an offset
BITS:WIDTH is that of a bit field. Types: a number is a scalar of so many bytes; *NAME a pointer to a struct, * to
anything else, *rcu:NAME and so on a tagged one; {NAME} a struct inside, |{NAME} a union; [N] before a type an array.
Structs without a name of their own are called after where they are first met. Read from the kernel's BTF.
"""

from typing import Final

TABLE: Final = """
"""
