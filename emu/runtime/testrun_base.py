"""What every kind of test run shares: its results, the caller's context, sizes and limits of the kernel's buffers.

Knows nothing of any one program type.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from bpf.program import RunInput
from emu.runtime.contexts import Context
from emu.runtime.traps import RunRefused

DEFAULT_DATA = bytes(64)  # what packet types get when the caller gives nothing
PAGE = 4096
SHARED_INFO = 320  # SKB_DATA_ALIGN(sizeof(struct skb_shared_info))
FRAGS = 17 * PAGE  # MAX_SKB_FRAGS pages behind the linear part


class Finished(NamedTuple):
    """What BPF_PROG_TEST_RUN reports. retval: u32. data_out, ctx_out: None where the type has none."""

    errno: str
    retval: int
    data_out: bytes | None = None
    ctx_out: bytes | None = None


Finish = Callable[[int], Finished]  # r0 -> results


def _anew(_run: RunInput) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run ready to start: its context, how often the program runs, and how its results are made.

    again: makes another run of one round ready on the same objects, as long as nothing but programs changed them; how its
    results are made, or None, with nothing changed, where that takes more.
    """

    context: Context
    finish: Finish
    rounds: int = 1
    again: Callable[[RunInput], Finish | None] = _anew


def ctx_init(run: RunInput, size: int) -> bytes | None:
    """The caller's context cut or padded to `size` bytes; None when there is none. E2BIG when more was set."""
    if not run.ctx_in:
        return None if not run.ctx_out_size else bytes(size)
    if any(run.ctx_in[size:]):
        raise RunRefused("E2BIG", f"ctx_in is set beyond its {size} bytes")
    return run.ctx_in[:size].ljust(size, b"\0")


def results(run: RunInput, retval: int, data: bytes, ctx: bytes | None) -> Finished:
    """data_out and ctx_out cut to the sizes the caller gave; ENOSPC when one is too small."""
    size = run.data_out_size
    if size and len(data) > size:
        return Finished("ENOSPC", retval, data[:size], None)
    if ctx is None:
        return Finished("OK", retval, data, None)
    size = run.ctx_out_size
    if size is not None and len(ctx) > size > 0:
        return Finished("ENOSPC", retval, data, ctx[:size])
    return Finished("OK", retval, data, ctx)


def rounds_of(run: RunInput) -> int:
    """How often the program runs: 0 means once."""
    return (run.repeat & 0xFFFFFFFF) or 1


def data_of(run: RunInput, at_least: int) -> bytes:
    """The caller's packet, 64 zero bytes if there is none. Raises RunRefused when it is shorter than `at_least`."""
    data = DEFAULT_DATA if run.data_in is None else run.data_in
    if len(data) < at_least:
        raise RunRefused("EINVAL", f"data_in has {len(data)} bytes, at least {at_least} are needed")
    return data
