"""How a coordinator is kept over the years: its backup, and a new home from one.

Imports members, home, store and shared only.
"""
