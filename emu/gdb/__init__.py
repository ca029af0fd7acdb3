"""A server of the GDB remote serial protocol, and the symbols that gdb wants to go with it.

protocol (packets), server (one client), session (what packets ask for), registers (gdb's names of them), target (the
program under control), monitor (what `monitor` shows); symbols (all of these together): elf, lines, debug_info, cfi,
sources. Nothing here knows Unicorn: the machine that stops and goes on is `emu.sandbox.debug`.
"""
