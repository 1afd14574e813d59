"""Studies and runs as the coordinator steers them.

Imports run, members, store and below.
"""
