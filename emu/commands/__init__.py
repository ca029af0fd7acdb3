"""The commands of `bpfemu`, one module each. They read options, call a stage, and print; nothing else."""
