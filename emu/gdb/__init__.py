"""A server of the GDB remote serial protocol, and the symbols that gdb wants to go with it.

protocol (packets), server (one client), session and access (what packets ask for), registers (gdb's names of them),
target (the program under control), stack (its activations), monitor (what `monitor` shows), held (all runs of a request).
symbols puts together what elf, lines, cfi, sweep, debug_info (with entries and types), sources and variables make. Nothing here
knows Unicorn: the machine that stops and goes on is `emu.sandbox.debug`.
"""
