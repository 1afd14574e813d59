"""How something is written to a terminal.

texts.py: plain words, lists, bars, times; screen.py: console, tables, facts. Imports errors only.
"""
