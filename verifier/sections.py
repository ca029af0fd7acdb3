"""Where on its path a program may sleep, and where RCU protects what it reads.

Source: in_sleepable and in_rcu_cs of kernel/bpf/verifier.c.
"""

from verifier.env import Env


def in_sleepable(env: Env) -> bool:
    """Whether this function of the program may sleep at all."""
    return env.cur_state.in_sleepable


def in_rcu_cs(env: Env) -> bool:
    """Whether objects freed by RCU stay for now: asked for, implied by a lock, or because nothing here sleeps."""
    state = env.cur_state
    return bool(
        state.active_rcu_locks
        or state.active_preempt_locks
        or state.active_locks
        or state.active_irq_id
        or not state.in_sleepable
    )
