"""All runs of a request on a machine of which one is held by a debugger."""

from dataclasses import dataclass

from bpf.program import Request
from emu.gdb.server import Channel, Gone, Listener
from emu.gdb.session import Session, signal_of
from emu.gdb.target import Target
from emu.outcome import Outcome, RunResult
from emu.sandbox.debug import Killed


@dataclass(frozen=True, slots=True)
class Held:
    """outcome: of all runs, None if the debugger ended one; then `killed` says how."""

    outcome: Outcome | None
    killed: str = ""


def run_held(target: Target, request: Request, number: int, listener: Listener, exec_file: str) -> Held:
    """Wait for a client, and let it debug run `number`, from 1. The runs before and behind are nobody's business."""
    engine, results = target.engine, []
    try:
        for at, run in enumerate(request.runs, 1):
            if at == number:
                channel = listener.accept()
                results.append(_debugged(channel, target, request, at, exec_file))
            else:
                results.append(engine.run(run))
    except Gone:
        return Held(None, "the debugger went away")
    except Killed:
        return Held(None, "the debugger ended the run")
    finally:
        listener.close()
    placed = all(function.offsets for one in target.images for function in one.functions)
    extra: dict[str, object] = {"layout": engine.layout, "codes": engine.codes}
    world = engine.world
    return Held(Outcome("sandbox", tuple(results), world.contents(), world.dumps(), extra, placed))


def _debugged(channel: Channel, target: Target, request: Request, number: int, exec_file: str) -> RunResult:
    session = Session(channel, target, exec_file)
    target.machine.debugger = session
    try:
        result = target.engine.run(request.runs[number - 1])
        if not session.detached:
            session.finished(signal_of(result.trap) if result.trap is not None else 0)
        return result
    except Gone:
        raise
    except Killed:
        session.killed()
        raise
    finally:
        target.machine.unhold()
        channel.close()
