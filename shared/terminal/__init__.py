"""How a terminal is written to.

A console, colours, other parties' text made plain; imports errors only.
"""
