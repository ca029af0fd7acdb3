"""The whole instruction set as one table, one row a form.

A form is an opcode byte together with those values of the other fields that choose what it means. The table
knows which fields a form uses and how; it does not know what a form does. Sources: RFC 9669 (groups base32,
base64, divmul32, divmul64, atomic32, atomic64, packet); Linux 7.3 for what it adds ("linux").
"""

from dataclasses import dataclass

from bpf import isa
from bpf.insn import Insn

Field = int | str


@dataclass(frozen=True, slots=True)
class Form:
    """One row. A number in `dst`, `src`, `off` or `imm` is the only value that the field may have in this form.

    A word says what the field is there for:
      dst, src: "read", "write", "update" (read, then written) or "base" (address of the access): a register.
      off: "off" (displacement in bytes), "branch" (distance in slots), "slot_in", "slot_out" (displacement of a
        stack argument, a multiple of 8), "fd_index" (module of a kfunc), "any" (no meaning, but nobody minds).
      imm: "imm", "shift" (count), "branch", "low" (lower half of 64 bits), "map", "map_idx", "btf_id", "helper",
        "spaces" (destination << 16 | source), "poke" (slot of a tail call).
    group: conformance group of RFC 9669, "linux", or "callx". cpu: lowest -mcpu=vN at which clang emits it, 0 = never.
    marks: "linux" (an addition of Linux), "fixup" (made by the kernel's rewriting, never accepted from a program),
      "wide" (two slots), "llvm" (clang can write it, no kernel accepts it).
    """

    name: str
    code: int
    dst: Field
    src: Field
    off: Field
    imm: Field
    group: str
    cpu: int
    marks: str = ""

    @property
    def wide(self) -> bool:
        """Takes two slots."""
        return self.code == isa.LD_IMM64

    @property
    def loadable(self) -> bool:
        """A program may hold it: neither made by fixups only nor unknown to every kernel."""
        return not ("fixup" in self.marks or "llvm" in self.marks)

    def sample(self, dst: int = 1, src: int = 2, off: int = 8, imm: int = 16) -> tuple[Insn, ...]:
        """The form as instruction slots; every field the form uses gets the argument's value."""
        first = Insn(
            self.code,
            _fixed(self.dst, dst),
            _fixed(self.src, src),
            _fixed(self.off, off),
            _fixed(self.imm, imm),
        )
        return (first, Insn(0)) if self.wide else (first,)


# fmt: off
FORMS: tuple[Form, ...] = (
    # ---- arithmetic, 64 bits
    Form("add64_imm", 0x07, "update", 0, 0, "imm", "base64", 1),
    Form("add64_reg", 0x0f, "update", "read", 0, 0, "base64", 1),
    Form("sub64_imm", 0x17, "update", 0, 0, "imm", "base64", 1),
    Form("sub64_reg", 0x1f, "update", "read", 0, 0, "base64", 1),
    Form("mul64_imm", 0x27, "update", 0, 0, "imm", "divmul64", 1),
    Form("mul64_reg", 0x2f, "update", "read", 0, 0, "divmul64", 1),
    Form("div64_imm", 0x37, "update", 0, 0, "imm", "divmul64", 1),
    Form("div64_reg", 0x3f, "update", "read", 0, 0, "divmul64", 1),
    Form("sdiv64_imm", 0x37, "update", 0, 1, "imm", "divmul64", 4),
    Form("sdiv64_reg", 0x3f, "update", "read", 1, 0, "divmul64", 4),
    Form("or64_imm", 0x47, "update", 0, 0, "imm", "base64", 1),
    Form("or64_reg", 0x4f, "update", "read", 0, 0, "base64", 1),
    Form("and64_imm", 0x57, "update", 0, 0, "imm", "base64", 1),
    Form("and64_reg", 0x5f, "update", "read", 0, 0, "base64", 1),
    Form("lsh64_imm", 0x67, "update", 0, 0, "shift", "base64", 1),
    Form("lsh64_reg", 0x6f, "update", "read", 0, 0, "base64", 1),
    Form("rsh64_imm", 0x77, "update", 0, 0, "shift", "base64", 1),
    Form("rsh64_reg", 0x7f, "update", "read", 0, 0, "base64", 1),
    Form("mod64_imm", 0x97, "update", 0, 0, "imm", "divmul64", 1),
    Form("mod64_reg", 0x9f, "update", "read", 0, 0, "divmul64", 1),
    Form("smod64_imm", 0x97, "update", 0, 1, "imm", "divmul64", 4),
    Form("smod64_reg", 0x9f, "update", "read", 1, 0, "divmul64", 4),
    Form("xor64_imm", 0xa7, "update", 0, 0, "imm", "base64", 1),
    Form("xor64_reg", 0xaf, "update", "read", 0, 0, "base64", 1),
    Form("arsh64_imm", 0xc7, "update", 0, 0, "shift", "base64", 1),
    Form("arsh64_reg", 0xcf, "update", "read", 0, 0, "base64", 1),
    Form("neg64", 0x87, "update", 0, 0, 0, "base64", 1),
    Form("mov64_imm", 0xb7, "write", 0, 0, "imm", "base64", 1),
    Form("mov64_reg", 0xbf, "write", "read", 0, 0, "base64", 1),
    Form("movsx8to64", 0xbf, "write", "read", 8, 0, "base64", 4),
    Form("movsx16to64", 0xbf, "write", "read", 16, 0, "base64", 4),
    Form("movsx32to64", 0xbf, "write", "read", 32, 0, "base64", 4),
    # ---- arithmetic, 32 bits
    Form("add32_imm", 0x04, "update", 0, 0, "imm", "base32", 3),
    Form("add32_reg", 0x0c, "update", "read", 0, 0, "base32", 3),
    Form("sub32_imm", 0x14, "update", 0, 0, "imm", "base32", 3),
    Form("sub32_reg", 0x1c, "update", "read", 0, 0, "base32", 3),
    Form("mul32_imm", 0x24, "update", 0, 0, "imm", "divmul32", 3),
    Form("mul32_reg", 0x2c, "update", "read", 0, 0, "divmul32", 3),
    Form("div32_imm", 0x34, "update", 0, 0, "imm", "divmul32", 3),
    Form("div32_reg", 0x3c, "update", "read", 0, 0, "divmul32", 3),
    Form("sdiv32_imm", 0x34, "update", 0, 1, "imm", "divmul32", 4),
    Form("sdiv32_reg", 0x3c, "update", "read", 1, 0, "divmul32", 4),
    Form("or32_imm", 0x44, "update", 0, 0, "imm", "base32", 3),
    Form("or32_reg", 0x4c, "update", "read", 0, 0, "base32", 3),
    Form("and32_imm", 0x54, "update", 0, 0, "imm", "base32", 3),
    Form("and32_reg", 0x5c, "update", "read", 0, 0, "base32", 3),
    Form("lsh32_imm", 0x64, "update", 0, 0, "shift", "base32", 3),
    Form("lsh32_reg", 0x6c, "update", "read", 0, 0, "base32", 3),
    Form("rsh32_imm", 0x74, "update", 0, 0, "shift", "base32", 3),
    Form("rsh32_reg", 0x7c, "update", "read", 0, 0, "base32", 3),
    Form("mod32_imm", 0x94, "update", 0, 0, "imm", "divmul32", 3),
    Form("mod32_reg", 0x9c, "update", "read", 0, 0, "divmul32", 3),
    Form("smod32_imm", 0x94, "update", 0, 1, "imm", "divmul32", 4),
    Form("smod32_reg", 0x9c, "update", "read", 1, 0, "divmul32", 4),
    Form("xor32_imm", 0xa4, "update", 0, 0, "imm", "base32", 3),
    Form("xor32_reg", 0xac, "update", "read", 0, 0, "base32", 3),
    Form("arsh32_imm", 0xc4, "update", 0, 0, "shift", "base32", 3),
    Form("arsh32_reg", 0xcc, "update", "read", 0, 0, "base32", 3),
    Form("neg32", 0x84, "update", 0, 0, 0, "base32", 3),
    Form("mov32_imm", 0xb4, "write", 0, 0, "imm", "base32", 3),
    Form("mov32_reg", 0xbc, "write", "read", 0, 0, "base32", 3),
    Form("movsx8to32", 0xbc, "write", "read", 8, 0, "base32", 4),
    Form("movsx16to32", 0xbc, "write", "read", 16, 0, "base32", 4),
    Form("addr_space_cast", 0xbf, "write", "read", 1, "spaces", "linux", 1, "linux"),
    Form("mov_percpu", 0xbf, "write", "read", -1, 0, "linux", 0, "linux fixup"),
    # ---- byte order
    Form("le16", 0xd4, "update", 0, 0, 16, "base32", 1),
    Form("le32", 0xd4, "update", 0, 0, 32, "base32", 1),
    Form("le64", 0xd4, "update", 0, 0, 64, "base64", 1),
    Form("be16", 0xdc, "update", 0, 0, 16, "base32", 1),
    Form("be32", 0xdc, "update", 0, 0, 32, "base32", 1),
    Form("be64", 0xdc, "update", 0, 0, 64, "base64", 1),
    Form("bswap16", 0xd7, "update", 0, 0, 16, "base32", 4),
    Form("bswap32", 0xd7, "update", 0, 0, 32, "base32", 4),
    Form("bswap64", 0xd7, "update", 0, 0, 64, "base64", 4),
    # ---- conditional jumps, 64 bits
    Form("jeq64_imm", 0x15, "read", 0, "branch", "imm", "base64", 1),
    Form("jeq64_reg", 0x1d, "read", "read", "branch", 0, "base64", 1),
    Form("jgt64_imm", 0x25, "read", 0, "branch", "imm", "base64", 1),
    Form("jgt64_reg", 0x2d, "read", "read", "branch", 0, "base64", 1),
    Form("jge64_imm", 0x35, "read", 0, "branch", "imm", "base64", 1),
    Form("jge64_reg", 0x3d, "read", "read", "branch", 0, "base64", 1),
    Form("jset64_imm", 0x45, "read", 0, "branch", "imm", "base64", 1),
    Form("jset64_reg", 0x4d, "read", "read", "branch", 0, "base64", 1),
    Form("jne64_imm", 0x55, "read", 0, "branch", "imm", "base64", 1),
    Form("jne64_reg", 0x5d, "read", "read", "branch", 0, "base64", 1),
    Form("jsgt64_imm", 0x65, "read", 0, "branch", "imm", "base64", 1),
    Form("jsgt64_reg", 0x6d, "read", "read", "branch", 0, "base64", 1),
    Form("jsge64_imm", 0x75, "read", 0, "branch", "imm", "base64", 1),
    Form("jsge64_reg", 0x7d, "read", "read", "branch", 0, "base64", 1),
    Form("jlt64_imm", 0xa5, "read", 0, "branch", "imm", "base64", 2),
    Form("jlt64_reg", 0xad, "read", "read", "branch", 0, "base64", 2),
    Form("jle64_imm", 0xb5, "read", 0, "branch", "imm", "base64", 2),
    Form("jle64_reg", 0xbd, "read", "read", "branch", 0, "base64", 2),
    Form("jslt64_imm", 0xc5, "read", 0, "branch", "imm", "base64", 2),
    Form("jslt64_reg", 0xcd, "read", "read", "branch", 0, "base64", 2),
    Form("jsle64_imm", 0xd5, "read", 0, "branch", "imm", "base64", 2),
    Form("jsle64_reg", 0xdd, "read", "read", "branch", 0, "base64", 2),
    # ---- conditional jumps, 32 bits
    Form("jeq32_imm", 0x16, "read", 0, "branch", "imm", "base32", 3),
    Form("jeq32_reg", 0x1e, "read", "read", "branch", 0, "base32", 3),
    Form("jgt32_imm", 0x26, "read", 0, "branch", "imm", "base32", 3),
    Form("jgt32_reg", 0x2e, "read", "read", "branch", 0, "base32", 3),
    Form("jge32_imm", 0x36, "read", 0, "branch", "imm", "base32", 3),
    Form("jge32_reg", 0x3e, "read", "read", "branch", 0, "base32", 3),
    Form("jset32_imm", 0x46, "read", 0, "branch", "imm", "base32", 3),
    Form("jset32_reg", 0x4e, "read", "read", "branch", 0, "base32", 3),
    Form("jne32_imm", 0x56, "read", 0, "branch", "imm", "base32", 3),
    Form("jne32_reg", 0x5e, "read", "read", "branch", 0, "base32", 3),
    Form("jsgt32_imm", 0x66, "read", 0, "branch", "imm", "base32", 3),
    Form("jsgt32_reg", 0x6e, "read", "read", "branch", 0, "base32", 3),
    Form("jsge32_imm", 0x76, "read", 0, "branch", "imm", "base32", 3),
    Form("jsge32_reg", 0x7e, "read", "read", "branch", 0, "base32", 3),
    Form("jlt32_imm", 0xa6, "read", 0, "branch", "imm", "base32", 3),
    Form("jlt32_reg", 0xae, "read", "read", "branch", 0, "base32", 3),
    Form("jle32_imm", 0xb6, "read", 0, "branch", "imm", "base32", 3),
    Form("jle32_reg", 0xbe, "read", "read", "branch", 0, "base32", 3),
    Form("jslt32_imm", 0xc6, "read", 0, "branch", "imm", "base32", 3),
    Form("jslt32_reg", 0xce, "read", "read", "branch", 0, "base32", 3),
    Form("jsle32_imm", 0xd6, "read", 0, "branch", "imm", "base32", 3),
    Form("jsle32_reg", 0xde, "read", "read", "branch", 0, "base32", 3),
    # ---- other jumps, calls, exit
    Form("ja", 0x05, 0, 0, "branch", 0, "base32", 1),
    Form("gotol", 0x06, 0, 0, 0, "branch", "base32", 4),
    Form("gotox", 0x0d, "read", 0, 0, 0, "linux", 4, "linux"),
    Form("may_goto", 0xe5, 0, 0, "branch", 0, "linux", 4, "linux"),
    Form("call_helper", 0x85, 0, 0, 0, "helper", "base32", 1),
    Form("call_subprog", 0x85, 0, 1, 0, "branch", "base32", 1),
    Form("call_kfunc", 0x85, 0, 2, "fd_index", "btf_id", "linux", 1, "linux"),
    Form("callx", 0x8d, "read", 0, 0, 0, "callx", 1, "llvm"),
    Form("exit", 0x95, 0, 0, "any", 0, "base32", 1),
    Form("tail_call", 0xf5, 0, 0, 0, "poke", "linux", 0, "linux fixup"),
    # ---- 64-bit immediates (two slots)
    Form("ld_imm64", 0x18, "write", 0, 0, "low", "base64", 1, "wide"),
    Form("ld_map", 0x18, "write", 1, 0, "map", "base64", 1, "wide"),
    Form("ld_map_value", 0x18, "write", 2, 0, "map", "base64", 1, "wide"),
    Form("ld_btf_id", 0x18, "write", 3, 0, "btf_id", "base64", 1, "wide"),
    Form("ld_func", 0x18, "write", 4, 0, "branch", "base64", 1, "wide"),
    Form("ld_map_idx", 0x18, "write", 5, 0, "map_idx", "base64", 1, "wide"),
    Form("ld_map_idx_value", 0x18, "write", 6, 0, "map_idx", "base64", 1, "wide"),
    # ---- packet access of classic BPF: r0 = ntoh(packet[...]), r6 is the context
    Form("ld_abs_b", 0x30, 0, 0, 0, "imm", "packet", 1),
    Form("ld_abs_h", 0x28, 0, 0, 0, "imm", "packet", 1),
    Form("ld_abs_w", 0x20, 0, 0, 0, "imm", "packet", 1),
    Form("ld_ind_b", 0x50, 0, "read", 0, "imm", "packet", 1),
    Form("ld_ind_h", 0x48, 0, "read", 0, "imm", "packet", 1),
    Form("ld_ind_w", 0x40, 0, "read", 0, "imm", "packet", 1),
    # ---- stack arguments: slot k of 7 lies at r11 + 8(k+1) when it comes in, at r11 - 8(k+1) when it goes out
    Form("ldx_arg", 0x79, "write", 11, "slot_in", 0, "linux", 1, "linux"),
    Form("stx_arg", 0x7b, 11, "read", "slot_out", 0, "linux", 1, "linux"),
    Form("st_arg", 0x7a, 11, 0, "slot_out", "imm", "linux", 4, "linux"),
    # ---- loads and stores
    Form("ldx_b", 0x71, "write", "base", "off", 0, "base32", 1),
    Form("ldx_h", 0x69, "write", "base", "off", 0, "base32", 1),
    Form("ldx_w", 0x61, "write", "base", "off", 0, "base32", 1),
    Form("ldx_dw", 0x79, "write", "base", "off", 0, "base64", 1),
    Form("ldsx_b", 0x91, "write", "base", "off", 0, "base32", 4),
    Form("ldsx_h", 0x89, "write", "base", "off", 0, "base32", 4),
    Form("ldsx_w", 0x81, "write", "base", "off", 0, "base64", 4),
    Form("stx_b", 0x73, "base", "read", "off", 0, "base32", 1),
    Form("stx_h", 0x6b, "base", "read", "off", 0, "base32", 1),
    Form("stx_w", 0x63, "base", "read", "off", 0, "base32", 1),
    Form("stx_dw", 0x7b, "base", "read", "off", 0, "base64", 1),
    Form("st_b", 0x72, "base", 0, "off", "imm", "base32", 4),
    Form("st_h", 0x6a, "base", 0, "off", "imm", "base32", 4),
    Form("st_w", 0x62, "base", 0, "off", "imm", "base32", 4),
    Form("st_dw", 0x7a, "base", 0, "off", "imm", "base64", 4),
    # ---- atomics; imm is the operation
    Form("atomic64_add", 0xdb, "base", "read", "off", 0, "atomic64", 1),
    Form("atomic64_fetch_add", 0xdb, "base", "update", "off", 1, "atomic64", 3),
    Form("atomic64_or", 0xdb, "base", "read", "off", 64, "atomic64", 3),
    Form("atomic64_fetch_or", 0xdb, "base", "update", "off", 65, "atomic64", 3),
    Form("atomic64_and", 0xdb, "base", "read", "off", 80, "atomic64", 3),
    Form("atomic64_fetch_and", 0xdb, "base", "update", "off", 81, "atomic64", 3),
    Form("atomic64_xor", 0xdb, "base", "read", "off", 160, "atomic64", 3),
    Form("atomic64_fetch_xor", 0xdb, "base", "update", "off", 161, "atomic64", 3),
    Form("atomic64_xchg", 0xdb, "base", "update", "off", 225, "atomic64", 3),
    Form("atomic64_cmpxchg", 0xdb, "base", "read", "off", 241, "atomic64", 3),
    Form("atomic32_add", 0xc3, "base", "read", "off", 0, "atomic32", 1),
    Form("atomic32_fetch_add", 0xc3, "base", "update", "off", 1, "atomic32", 3),
    Form("atomic32_or", 0xc3, "base", "read", "off", 64, "atomic32", 3),
    Form("atomic32_fetch_or", 0xc3, "base", "update", "off", 65, "atomic32", 3),
    Form("atomic32_and", 0xc3, "base", "read", "off", 80, "atomic32", 3),
    Form("atomic32_fetch_and", 0xc3, "base", "update", "off", 81, "atomic32", 3),
    Form("atomic32_xor", 0xc3, "base", "read", "off", 160, "atomic32", 3),
    Form("atomic32_fetch_xor", 0xc3, "base", "update", "off", 161, "atomic32", 3),
    Form("atomic32_xchg", 0xc3, "base", "update", "off", 225, "atomic32", 3),
    Form("atomic32_cmpxchg", 0xc3, "base", "read", "off", 241, "atomic32", 3),
    Form("load_acquire_b", 0xd3, "write", "base", "off", 256, "linux", 4, "linux"),
    Form("load_acquire_h", 0xcb, "write", "base", "off", 256, "linux", 4, "linux"),
    Form("load_acquire_w", 0xc3, "write", "base", "off", 256, "linux", 4, "linux"),
    Form("load_acquire_dw", 0xdb, "write", "base", "off", 256, "linux", 4, "linux"),
    Form("store_release_b", 0xd3, "base", "read", "off", 272, "linux", 4, "linux"),
    Form("store_release_h", 0xcb, "base", "read", "off", 272, "linux", 4, "linux"),
    Form("store_release_w", 0xc3, "base", "read", "off", 272, "linux", 4, "linux"),
    Form("store_release_dw", 0xdb, "base", "read", "off", 272, "linux", 4, "linux"),
    # ---- what only the kernel's rewriting makes: faulting loads answer 0, arena accesses are based on the arena, barriers
    Form("nospec", 0xc2, 0, 0, 0, 0, "linux", 0, "linux fixup"),
    Form("probe_ldx_b", 0x31, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("probe_ldx_h", 0x29, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("probe_ldx_w", 0x21, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("probe_ldx_dw", 0x39, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("probe_ldsx_b", 0x51, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("probe_ldsx_h", 0x49, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("probe_ldsx_w", 0x41, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_ldx_b", 0xb1, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_ldx_h", 0xa9, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_ldx_w", 0xa1, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_ldx_dw", 0xb9, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_ldsx_b", 0xd1, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_ldsx_h", 0xc9, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_ldsx_w", 0xc1, "write", "base", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_stx_b", 0xb3, "base", "read", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_stx_h", 0xab, "base", "read", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_stx_w", 0xa3, "base", "read", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_stx_dw", 0xbb, "base", "read", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_st_b", 0xb2, "base", 0, "off", "imm", "linux", 0, "linux fixup"),
    Form("arena_st_h", 0xaa, "base", 0, "off", "imm", "linux", 0, "linux fixup"),
    Form("arena_st_w", 0xa2, "base", 0, "off", "imm", "linux", 0, "linux fixup"),
    Form("arena_st_dw", 0xba, "base", 0, "off", "imm", "linux", 0, "linux fixup"),
    Form("arena_atomic64_add", 0xfb, "base", "read", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_atomic64_fetch_add", 0xfb, "base", "update", "off", 1, "linux", 0, "linux fixup"),
    Form("arena_atomic64_or", 0xfb, "base", "read", "off", 64, "linux", 0, "linux fixup"),
    Form("arena_atomic64_fetch_or", 0xfb, "base", "update", "off", 65, "linux", 0, "linux fixup"),
    Form("arena_atomic64_and", 0xfb, "base", "read", "off", 80, "linux", 0, "linux fixup"),
    Form("arena_atomic64_fetch_and", 0xfb, "base", "update", "off", 81, "linux", 0, "linux fixup"),
    Form("arena_atomic64_xor", 0xfb, "base", "read", "off", 160, "linux", 0, "linux fixup"),
    Form("arena_atomic64_fetch_xor", 0xfb, "base", "update", "off", 161, "linux", 0, "linux fixup"),
    Form("arena_atomic64_xchg", 0xfb, "base", "update", "off", 225, "linux", 0, "linux fixup"),
    Form("arena_atomic64_cmpxchg", 0xfb, "base", "read", "off", 241, "linux", 0, "linux fixup"),
    Form("arena_atomic32_add", 0xe3, "base", "read", "off", 0, "linux", 0, "linux fixup"),
    Form("arena_atomic32_fetch_add", 0xe3, "base", "update", "off", 1, "linux", 0, "linux fixup"),
    Form("arena_atomic32_or", 0xe3, "base", "read", "off", 64, "linux", 0, "linux fixup"),
    Form("arena_atomic32_fetch_or", 0xe3, "base", "update", "off", 65, "linux", 0, "linux fixup"),
    Form("arena_atomic32_and", 0xe3, "base", "read", "off", 80, "linux", 0, "linux fixup"),
    Form("arena_atomic32_fetch_and", 0xe3, "base", "update", "off", 81, "linux", 0, "linux fixup"),
    Form("arena_atomic32_xor", 0xe3, "base", "read", "off", 160, "linux", 0, "linux fixup"),
    Form("arena_atomic32_fetch_xor", 0xe3, "base", "update", "off", 161, "linux", 0, "linux fixup"),
    Form("arena_atomic32_xchg", 0xe3, "base", "update", "off", 225, "linux", 0, "linux fixup"),
    Form("arena_atomic32_cmpxchg", 0xe3, "base", "read", "off", 241, "linux", 0, "linux fixup"),
    Form("arena_load_acquire_b", 0xf3, "write", "base", "off", 256, "linux", 0, "linux fixup"),
    Form("arena_load_acquire_h", 0xeb, "write", "base", "off", 256, "linux", 0, "linux fixup"),
    Form("arena_load_acquire_w", 0xe3, "write", "base", "off", 256, "linux", 0, "linux fixup"),
    Form("arena_load_acquire_dw", 0xfb, "write", "base", "off", 256, "linux", 0, "linux fixup"),
    Form("arena_store_release_b", 0xf3, "base", "read", "off", 272, "linux", 0, "linux fixup"),
    Form("arena_store_release_h", 0xeb, "base", "read", "off", 272, "linux", 0, "linux fixup"),
    Form("arena_store_release_w", 0xe3, "base", "read", "off", 272, "linux", 0, "linux fixup"),
    Form("arena_store_release_dw", 0xfb, "base", "read", "off", 272, "linux", 0, "linux fixup"),
)
# fmt: on


def _fixed(field: Field, value: int) -> int:
    return field if isinstance(field, int) else value


def _by_code() -> tuple[tuple[Form, ...], ...]:
    table: list[list[Form]] = [[] for _ in range(256)]
    for form in FORMS:
        table[form.code].append(form)
    return tuple(tuple(forms) for forms in table)


BY_CODE: tuple[tuple[Form, ...], ...] = _by_code()
BY_NAME: dict[str, Form] = {form.name: form for form in FORMS}


def _register(field: Field, value: int) -> bool:
    """r11 is no register of ordinary forms; r12 (AX) is, in programs that the kernel has rewritten."""
    if isinstance(field, int):
        return value == field
    return value < isa.MAX_BPF_REG or value == isa.REG_AX


def _offset(field: Field, value: int) -> bool:
    if isinstance(field, int):
        return value == field
    if field == "slot_in":
        return value > 0 and value % 8 == 0
    if field == "slot_out":
        return value < 0 and value % 8 == 0
    return True


def form_of(insn: Insn, nxt: Insn | None = None) -> Form | None:
    """The form of `insn`; None when it is not an instruction at all: unknown opcode, or a reserved field in use.

    `nxt` is the slot behind it; without it the second half of an ld_imm64 is not looked at.
    """
    for form in BY_CODE[insn.code]:
        if (
            (form.imm == insn.imm or isinstance(form.imm, str))
            and _offset(form.off, insn.off)
            and _register(form.dst, insn.dst)
            and _register(form.src, insn.src)
        ):
            return None if form.wide and nxt is not None and not _second_half(form, nxt) else form
    return None


def _second_half(form: Form, nxt: Insn) -> bool:
    if nxt.code or nxt.dst or nxt.src or nxt.off:
        return False
    return nxt.imm == 0 or form.name not in ("ld_map", "ld_map_idx")
