"""The coordinator's desk: what its console asks to be signed, started, stopped.

A process of its own beside SuperLink and runs: it holds the online key and the token that starts
runs, and reads nothing but these questions (docs/console.md, "The desk"). Imports every room of
server below it; the console imports `calls.py` alone.

calls.py    the closed list, as types
acts.py     what is done: checked anew, written down under the person's name, then done
process.py  the process
"""
