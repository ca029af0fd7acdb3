"""A JIT that is not ours, under test. One line a file: job (what it is asked, and what it may answer), command (a process that answers).

pipeline (the stages with it in place of ours), judge (what is wrong with it), cases (a program as a pytest fixture).
Knows nothing of how any JIT works. What it compiles is run by emu.foreign as any code that links against given addresses.
"""
