"""`python -m emu` is `bpfemu`."""

import signal


def main() -> None:
    """Entry point. While modules are imported an interrupt ends the process at once, instead of in a traceback."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from emu.cli import main as command  # noqa: PLC0415  not before the line above

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


if __name__ == "__main__":
    main()
