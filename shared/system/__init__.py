"""The only room of shared with I/O.

Files, keys, processes, signals, the clock; imports errors only.
"""
