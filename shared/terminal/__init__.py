"""How something is written to a terminal.

texts.py: plain words, lists, bars, times; streams.py: where all of it is written, plain; screen.py:
console, tables, facts; stderr.py: progress.
Imports errors only.
"""
