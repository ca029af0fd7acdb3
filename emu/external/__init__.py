"""A JIT that is not ours, under test. One line a file: job (what it is asked, and what it may answer), command (a process that answers).

Knows nothing of how any JIT works. What it compiles is run by emu.foreign as any code from elsewhere.
"""
