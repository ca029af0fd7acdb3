"""How fast things are, each beside a baseline of the same run."""
