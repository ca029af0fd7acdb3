"""x86-64 encoding: registers, a table of forms, one encoder. Knows nothing of BPF."""
