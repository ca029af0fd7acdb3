"""The command `bpfemu`: a group of commands and what they have in common."""

import os
import sys
import traceback

import click

from bpf.errors import BpfemuError, InputError, InternalError
from emu.commands.batch import batch
from emu.commands.common import BAD_INPUT, CLOSED_PIPE, INTERRUPTED, fail
from emu.commands.debug import debug
from emu.commands.export import export_command
from emu.commands.fuzz import fuzz
from emu.commands.jit import jit
from emu.commands.mutants import mutants
from emu.commands.replay import replay
from emu.commands.run import run
from emu.commands.selftest import selftest
from emu.commands.trace import trace
from emu.commands.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="bpfemu", prog_name="bpfemu")
def bpfemu() -> None:
    """Verify, compile, run and compare BPF programs whose functions and kfuncs take up to 12 arguments.

    FILE is an ELF object, BPF assembly text (.bpf), or a JSON request. Exit status: 0 agrees, 1 differs, 2 bad
    input, 3 rejected by the verifier, 4 a fault of bpfemu itself, 130 interrupted, 141 standard output was closed.
    """


for command in (run, verify, jit, debug, batch, replay, selftest, fuzz, export_command, mutants, trace):
    bpfemu.add_command(command)


def main() -> None:
    """Entry point: turns every exception into one line and an exit status."""
    try:
        _invoke(sys.argv[1:])
        sys.stdout.flush()  # here, where a closed pipe can still be told
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "bpfemu"
        click.echo(
            f"{command}: error: {' '.join(error.format_message().split())} (see {command} --help)", err=True
        )
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        fail(InputError("", "", error.format_message()))
    except BpfemuError as error:
        fail(error)
    except KeyboardInterrupt:
        click.echo("bpfemu: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # the reader went away: what it read was right, but neither "agrees" nor "differs" has been found out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(CLOSED_PIPE)
    except OSError as error:
        fail(InputError("", "", f"{error.filename or 'output'}: {error.strerror or error}"))
    except Exception as error:  # noqa: BLE001  the last resort: no traceback for the user
        if os.environ.get("BPFEMU_DEBUG"):
            traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        fail(InternalError(f"{where}: {type(error).__name__}: {error}".replace("\n", " ")))


def _invoke(arguments: list[str]) -> None:
    """Run a command; unlike `bpfemu.main`, leaves interrupts and closed pipes to the caller."""
    try:
        with bpfemu.make_context("bpfemu", arguments) as context:
            bpfemu.invoke(context)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(BAD_INPUT)
    except click.exceptions.Exit as ended:
        sys.stdout.flush()
        sys.exit(ended.exit_code)
