"""How something is written to a terminal.

texts.py: plain words, lists, bars, times; screen.py: console, tables, facts; stderr.py: progress.
Imports errors only.
"""
