"""What a running program meets: memory, maps, helpers, kfuncs and contexts. Used by both engines."""
