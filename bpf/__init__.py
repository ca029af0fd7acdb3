"""What a BPF program is: instructions, text, ELF, BTF and prototypes.

Imports nothing else of this project. Tables and values here are shared by the
verifier, the JIT and the engines; what an instruction *does* is not said here.
"""
