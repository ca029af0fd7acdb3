"""`python -m emu` is `bpfemu`."""

from emu.cli import main

if __name__ == "__main__":
    main()
