"""Runs programs in two engines, compares them, and is the command line."""
