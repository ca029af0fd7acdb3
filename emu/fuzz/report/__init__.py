"""What a campaign has found, for people and for machines. Reads results; decides nothing.

One line a file: numbers (the figures that all forms show, and the JSON form), table (text for a terminal), progress
(while it runs), junit (for CI), page (HTML), plots (its pictures).
"""
