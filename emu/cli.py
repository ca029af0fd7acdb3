"""The command `bpfemu`: a group of commands and what they have in common."""

import os
import sys
import traceback

import click

from bpf.errors import BpfemuError, InternalError
from emu.commands.batch import batch
from emu.commands.common import fail
from emu.commands.jit import jit
from emu.commands.replay import replay
from emu.commands.run import run
from emu.commands.selftest import selftest
from emu.commands.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="bpfemu", prog_name="bpfemu")
def bpfemu() -> None:
    """Verify, compile, run and compare BPF programs whose functions and kfuncs take up to 12 arguments.

    FILE is an ELF object, BPF assembly text (.bpf), or a JSON request. Exit status: 0 agrees, 1 differs, 2 bad
    input, 3 rejected by the verifier, 4 a fault of bpfemu itself.
    """


for command in (run, verify, jit, batch, replay, selftest):
    bpfemu.add_command(command)


def main() -> None:
    """Entry point: turns every exception into one line and an exit status."""
    try:
        bpfemu.main(standalone_mode=True)
    except BpfemuError as error:
        fail(error)
    except BrokenPipeError:
        # the reader went away; what it read was right
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001  the last resort: no traceback for the user
        if os.environ.get("BPFEMU_DEBUG"):
            traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        fail(InternalError(f"{where}: {type(error).__name__}: {error}".replace("\n", " ")))
