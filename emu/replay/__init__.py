"""Recordings of a real kernel against our engines: where do we agree?

records.py replays requests with `expect` (fixtures/golden), objects.py lists of objects (fixtures/objects), check.py
holds what both make. Knows how answers compare, not how they are printed.
"""
