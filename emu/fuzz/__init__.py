"""The campaign: generate programs, run them through all engines, judge, shrink what is wrong, and keep it.

Values flow one way: `Sample` (generators) -> `Judged` (engines and oracles, judge.py) -> `Finding` (reduce, keep).
Generators know no oracle, oracles know no generator. One line a file:

sample (a program to try, by its number), generators (who makes samples), describe (what they make);
judge (one sample from end to end), oracles (who judges), finding (what is wrong with a sample);
reduce (the smallest program), cause (which findings are one), keep and export (a finding as files);
tasks (what crosses between processes), worker (does tasks), executors (who has workers), campaign (hands out and takes in),
state (what is known), store (the folder), tally and coverage (what is counted), report (for people and machines).
"""
