"""Unicorn's C interface, as thin and as fast as ctypes allows.

The binding's own methods cost three to ten times as much a call (they box arguments, and build a closure a hook).
Nothing here knows of programs, stacks or addresses of ours.
"""

import ctypes
import importlib
from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Any, Final

from unicorn import unicorn_const as uc_const
from unicorn import x86_const as x86

from bpf.errors import InternalError

_binding: Any = importlib.import_module("unicorn.unicorn_py3.unicorn")  # Any: it has only half of its types
_lib: Any = _binding.uclib

OK: Final = uc_const.UC_ERR_OK
INSN_INVALID: Final = uc_const.UC_ERR_INSN_INVALID
READ_ERRORS: Final = (uc_const.UC_ERR_READ_UNMAPPED, uc_const.UC_ERR_READ_PROT)
WRITE_ERRORS: Final = (uc_const.UC_ERR_WRITE_UNMAPPED, uc_const.UC_ERR_WRITE_PROT)
FETCH_ERRORS: Final = (uc_const.UC_ERR_FETCH_UNMAPPED, uc_const.UC_ERR_FETCH_PROT)
WRITE_PROT: Final = uc_const.UC_ERR_WRITE_PROT
FETCH_PROT: Final = uc_const.UC_ERR_FETCH_PROT

READ: Final = uc_const.UC_PROT_READ
WRITE: Final = uc_const.UC_PROT_WRITE
EXEC: Final = uc_const.UC_PROT_EXEC

REGISTERS: Final = {
    name: getattr(x86, f"UC_X86_REG_{name.upper()}")
    for name in (
        *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip", "eflags", "cr0", "cr4"),
        *(f"r{n}" for n in range(8, 16)),
        *("cs", "ss", "ds", "es", "fs", "gs", "fs_base", "gs_base"),
    )
}
_TOP = 1 << 64
_BUFFER = 8 << 20  # bytes of translated code; the default reserves 1 GiB of address space
_REMOVE_CACHE = (uc_const.UC_CTL_IO_WRITE << 30) | (2 << 26) | uc_const.UC_CTL_TB_REMOVE_CACHE
_FLUSH = (uc_const.UC_CTL_IO_WRITE << 30) | uc_const.UC_CTL_TB_FLUSH

_Ptr = ctypes.c_void_p
_CODE = ctypes.CFUNCTYPE(None, _Ptr, ctypes.c_uint64, ctypes.c_uint32, _Ptr)
_INTR = ctypes.CFUNCTYPE(None, _Ptr, ctypes.c_uint32, _Ptr)
_MEM = ctypes.CFUNCTYPE(
    ctypes.c_bool, _Ptr, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, _Ptr
)


class _Page(ctypes.Structure):
    _fields_ = (("addr", ctypes.c_uint64), ("perms", ctypes.c_int))


_TLB = ctypes.CFUNCTYPE(ctypes.c_bool, _Ptr, ctypes.c_uint64, ctypes.c_int, ctypes.POINTER(_Page), _Ptr)
_NEEDED = {uc_const.UC_MEM_READ: READ, uc_const.UC_MEM_WRITE: WRITE, uc_const.UC_MEM_FETCH: EXEC}
_INSN_PLAIN = ctypes.CFUNCTYPE(ctypes.c_uint32, _Ptr, _Ptr)
_INSN_IN = ctypes.CFUNCTYPE(ctypes.c_uint32, _Ptr, ctypes.c_uint32, ctypes.c_int, _Ptr)
_INSN_OUT = ctypes.CFUNCTYPE(None, _Ptr, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, _Ptr)
_INSN_HOOKS = {
    "syscall": (x86.UC_X86_INS_SYSCALL, _INSN_PLAIN),
    "sysenter": (x86.UC_X86_INS_SYSENTER, _INSN_PLAIN),
    "cpuid": (x86.UC_X86_INS_CPUID, _INSN_PLAIN),
    "in": (x86.UC_X86_INS_IN, _INSN_IN),
    "out": (x86.UC_X86_INS_OUT, _INSN_OUT),
}


class Processor:
    """One x86-64 processor with its address space.

    `failure` holds what a hook raised: ctypes would only print it. Whoever calls `start` raises it again.
    """

    def __init__(self) -> None:
        self._uc: Any = _binding.Uc(uc_const.UC_ARCH_X86, uc_const.UC_MODE_64)
        # High-half addresses fault on fetch and alias modulo 2^52 unless this precedes the first map.
        self._uc.ctl_set_tlb_mode(uc_const.UC_TLB_VIRTUAL)
        self._uc.ctl_set_tcg_buffer_size(_BUFFER)
        self._handle = self._uc._uch  # noqa: SLF001 - the binding has no public name for its C handle
        self._kept: dict[int, Any] = {}
        self._maps: list[tuple[int, int, int]] = []  # first address, last, permissions; in order
        self._callbacks: dict[int, Any] = {}
        self._cell = ctypes.c_uint64()
        self._cell_ref = ctypes.byref(self._cell)
        self.failure: BaseException | None = None

    def map(self, addr: int, host: Any, size: int, perms: int) -> None:
        """Map `size` bytes of a writable buffer at a guest address; the buffer is kept alive."""
        cells = (ctypes.c_char * size).from_buffer(host)
        self._kept[addr] = host, cells
        insort(self._maps, (addr, addr + size - 1, perms))
        self._check(_lib.uc_mem_map_ptr(self._handle, addr, size, perms, ctypes.addressof(cells)), "map")

    def unmap(self, addr: int, size: int) -> None:
        """Take away what was mapped last at this address, as a whole."""
        self._maps = [one for one in self._maps if one[0] != addr]
        self._check(_lib.uc_mem_unmap(self._handle, ctypes.c_uint64(addr), ctypes.c_uint64(size)), "unmap")
        del self._kept[addr]

    def remember_pages(self) -> None:
        """Let the processor remember all permissions of a page that it has looked up. After all maps.

        By itself Unicorn remembers only that a page may be read, or only that it may be written to, so that a push and a pop take
        some twenty times as long as they need to. Addresses that are not mapped, or not for such an access, stay as they are.
        """

        def hook(_uc: int, addr: int, kind: int, page: Any, _user: int) -> bool:
            maps, perms = self._maps, _NEEDED.get(kind, 0)
            at = bisect_right(maps, (addr, _TOP, 0)) - 1
            if at >= 0 and addr <= maps[at][1] and maps[at][2] & perms:
                perms = maps[at][2]
            page[0].addr, page[0].perms = addr, perms
            return True

        self._hook(uc_const.UC_HOOK_TLB_FILL, _TLB(hook))

    def code_hook(self, call: Callable[[int], None]) -> Any:
        """What `on_code` takes: `call(address)` in a form that C can call."""

        def hook(_uc: int, addr: int, _size: int, _user: int) -> None:
            try:
                call(addr)
            except BaseException as error:  # noqa: BLE001 - raised again outside of the C frames
                self._fail(error)

        return _CODE(hook)

    def on_code(self, first: int, last: int, hook: Any) -> int:
        """Call a `code_hook` before each instruction that starts in [first, last]. Returns a handle for `unhook`.

        Code there that was translated before must be forgotten.
        """
        return self._hook(uc_const.UC_HOOK_CODE, hook, first, last)

    def on_interrupt(self, call: Callable[[int], None]) -> None:
        """Call `call(number)` at an exception or interrupt."""

        def hook(_uc: int, number: int, _user: int) -> None:
            try:
                call(number)
            except BaseException as error:  # noqa: BLE001 - raised again outside of the C frames
                self._fail(error)

        self._hook(uc_const.UC_HOOK_INTR, _INTR(hook))

    def on_bad_access(self, call: Callable[[int, int], None]) -> None:
        """Call `call(address, size)` at an access that will end the run. After all maps: it looks at what they leave out.

        A store to memory where such a hook might be called is some ten times as slow as any other, whether it is called or not:
        so there is one for each gap between writable maps, and no hook at all for fetches from these.
        """

        def hook(_uc: int, _kind: int, addr: int, size: int, _value: int, _user: int) -> bool:
            try:
                call(addr, size)
            except BaseException as error:  # noqa: BLE001 - raised again outside of the C frames
                self._fail(error)
            return False

        callback = _MEM(hook)
        first = 0
        for base, last, perms in (*self._maps, (1 << 64, 1 << 64, WRITE)):
            if perms & WRITE:
                self._hook(uc_const.UC_HOOK_MEM_INVALID, callback, first, base - 1)
                first = last + 1

    def on_access(self, first: int, last: int, call: Callable[[bool, int, int], None]) -> int:
        """Call `call(is a write, address, size)` before each access to [first, last]. Returns a handle for `unhook`."""

        def hook(_uc: int, kind: int, addr: int, size: int, _value: int, _user: int) -> bool:
            try:
                call(kind == uc_const.UC_MEM_WRITE, addr, size)
            except BaseException as error:  # noqa: BLE001 - raised again outside of the C frames
                self._fail(error)
            return True

        return self._hook(uc_const.UC_HOOK_MEM_READ | uc_const.UC_HOOK_MEM_WRITE, _MEM(hook), first, last)

    def on_write(self, first: int, last: int, call: Callable[[int, int], None]) -> None:
        """Call `call(address, size)` before each write to [first, last]."""

        def hook(_uc: int, _kind: int, addr: int, size: int, _value: int, _user: int) -> bool:
            try:
                call(addr, size)
            except BaseException as error:  # noqa: BLE001 - raised again outside of the C frames
                self._fail(error)
            return True

        self._hook(uc_const.UC_HOOK_MEM_WRITE, _MEM(hook), first, last)

    def on_instruction(self, name: str, call: Callable[[], None]) -> None:
        """Call `call()` where the instruction `name` is executed; what it returns to the program is 0."""

        def hook(*_ignored: int) -> int:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - raised again outside of the C frames
                self._fail(error)
            return 1 if name == "cpuid" else 0  # 1: the instruction itself is skipped

        number, kind = _INSN_HOOKS[name]
        self._hook(uc_const.UC_HOOK_INSN, kind(hook), 1, 0, ctypes.c_int(number))

    def _hook(self, kind: int, callback: Any, first: int = 1, last: int = 0, *more: Any) -> int:
        handle = ctypes.c_ulong()
        pointer = ctypes.cast(callback, _Ptr)
        status = _lib.uc_hook_add(
            self._handle, ctypes.byref(handle), kind, pointer, None,
            ctypes.c_uint64(first), ctypes.c_uint64(last), *more,
        )  # fmt: skip
        self._check(status, "hook")
        self._callbacks[handle.value] = callback
        return handle.value

    def unhook(self, handle: int) -> None:
        """Remove a hook. Not from inside a hook."""
        self._check(_lib.uc_hook_del(self._handle, handle), "unhook")
        del self._callbacks[handle]

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self.stop()

    def start(self, begin: int, until: int) -> int:
        """Run from `begin`; returns an error number, OK when `until` was reached or `stop` was called.

        `until` is baked into translated code: always give the same.
        """
        return int(_lib.uc_emu_start(self._handle, begin, until, 0, 0))

    def stop(self) -> None:
        """End the run that is under way; from a hook or from another thread."""
        _lib.uc_emu_stop(self._handle)

    def read(self, register: str) -> int:
        """The value of a register."""
        self._cell.value = 0
        _lib.uc_reg_read(self._handle, REGISTERS[register], self._cell_ref)
        return self._cell.value

    def write(self, register: str, value: int) -> None:
        """Set a register."""
        self._cell.value = value
        self._check(_lib.uc_reg_write(self._handle, REGISTERS[register], self._cell_ref), f"write {register}")

    def read_memory(self, addr: int, size: int) -> bytes | None:
        """`size` bytes of the guest, None where not all of them are mapped."""
        data = ctypes.create_string_buffer(size)
        status = _lib.uc_mem_read(self._handle, ctypes.c_uint64(addr), data, ctypes.c_uint64(size))
        return data.raw if status == OK else None

    def write_memory(self, addr: int, data: bytes) -> bool:
        """Write to the guest, to read-only memory too; False where not all of it is mapped.

        Code that is changed must be forgotten.
        """
        size = ctypes.c_uint64(len(data))
        return bool(_lib.uc_mem_write(self._handle, ctypes.c_uint64(addr), data, size) == OK)

    def set_descriptors(self, addr: int, limit: int) -> None:
        """Where the global descriptor table lies, and its last byte."""
        self._uc.reg_write(x86.UC_X86_REG_GDTR, (0, addr, limit, 0))

    def save(self) -> Any:
        """All registers, for `restore`."""
        return self._uc.context_save()

    def restore(self, saved: Any) -> None:
        """All registers as they were."""
        self._uc.context_restore(saved)

    def forget(self, first: int, end: int) -> None:
        """Drop all translations of code in [first, end): needed before other bytes at these addresses may run."""
        status = _lib.uc_ctl(self._handle, _REMOVE_CACHE, ctypes.c_uint64(first), ctypes.c_uint64(end))
        self._check(status, "forget")

    def flush(self) -> None:
        """Drop all translations."""
        self._check(_lib.uc_ctl(self._handle, _FLUSH), "flush")

    def _check(self, status: int, what: str) -> None:
        if status != OK:
            raise InternalError(f"Unicorn: {what} failed with error {status}")
