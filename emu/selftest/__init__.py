"""Objects built like the kernel's own BPF selftests: what their BTF tags expect, and whether we meet it.

spec.py reads the tags, runner.py judges and runs, junit.py writes the result for other tools. The rules are those of
tools/testing/selftests/bpf/test_loader.c for a privileged user.
"""
