"""The campaign: generate programs, run them through all engines, judge, shrink what is wrong, and keep it.

Values flow one way: `Sample` (generators) -> `Judged` (engines and oracles, judge.py) -> `Finding` (reduce, keep).
Generators know no oracle, oracles know no generator. One line a file: sample (a program to try, by its number), finding
(what is wrong with it), generators (who makes samples), oracles (who judges), judge (one sample from end to end).
"""
