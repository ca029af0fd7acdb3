"""BTF: placeholder of the interface while the stages are built."""


class Btf:
    """Parsed BTF."""
