"""Visits of cycles of the control flow: what has to be passed on when all paths of a cycle are explored.

Precision that a state needs is known only when all paths from it are explored. Inside a cycle a path may end at a
checkpoint of the cycle before that; such ends ("backedges") are kept until the visit is over. Source: the scc functions
of kernel/bpf/states.c.
"""

from typing import TYPE_CHECKING

from verifier.state import VState

if TYPE_CHECKING:
    from verifier.env import Env

# Call sites up to the frame that is in a cycle, and the cycle's number.
Chain = tuple[int, ...]


class Visit:
    """One visit of a cycle (struct bpf_scc_visit). entry: the checkpoint that entered it, None while outside."""

    __slots__ = ("backedges", "entry")

    def __init__(self) -> None:
        self.entry: VState | None = None
        self.backedges: list[VState] = []


def _chain(env: "Env", state: VState) -> Chain | None:
    """The outermost frame that stands in a cycle, as the calls that lead to it (compute_scc_callchain)."""
    if not env.has_cycles:
        return None
    sites: list[int] = []
    for frame in range(len(state.frames)):
        insn_idx = state.frame_insn_idx(frame)
        scc = env.aux[insn_idx].scc
        if scc:
            return (*sites, scc)
        sites.append(insn_idx)
    return None


def _text(chain: Chain) -> str:
    sites = chain[:-1]
    shown = sites[: sites.index(0)] if 0 in sites else sites
    return f"({','.join(str(n) for n in (*shown, chain[-1]))})"


def maybe_enter_scc(env: "Env", state: VState) -> None:
    """A new checkpoint may be the first of a visit."""
    chain = _chain(env, state)
    if chain is None:
        return
    visit = env.visits.setdefault(chain, Visit())
    if visit.entry is None:
        visit.entry = state
        if env.verbose2:
            env.trace(f"SCC enter {_text(chain)}\n")


def maybe_exit_scc(env: "Env", state: VState) -> list[VState] | None:
    """All paths from `state` are explored: if it entered a visit, the visit is over, and its backedges are returned."""
    chain = _chain(env, state)
    if chain is None:
        return None
    visit = env.visits.get(chain)
    if visit is None:
        env.bug(f"scc exit: no visit info for call chain {_text(chain)}")
    if visit.entry is not state:
        return None
    if env.verbose2:
        env.trace(f"SCC exit {_text(chain)}\n")
    visit.entry = None
    env.num_backedges -= len(visit.backedges)
    return visit.backedges


def add_backedge(env: "Env", state: VState, backedge: VState) -> None:
    """A path ended at `state` before all paths from there were explored."""
    chain = _chain(env, state)
    visit = env.visits.get(chain) if chain is not None else None
    if chain is None or visit is None:
        env.bug(f"add backedge: no SCC in verification path, insn_idx {state.insn_idx}")
    if env.verbose2:
        env.trace(f"SCC backedge {_text(chain)}\n")
    visit.backedges.insert(0, backedge)
    env.num_backedges += 1
    states = env.explored_states_size + env.free_list_size + env.num_backedges
    env.peak_states = max(env.peak_states, states)


def has_backedges(env: "Env", state: VState) -> bool:
    """Whether the precision of `state` may still grow though its own paths are explored (incomplete_read_marks)."""
    if not env.num_backedges:
        return False
    chain = _chain(env, state)
    visit = env.visits.get(chain) if chain is not None else None
    return visit is not None and bool(visit.backedges)
