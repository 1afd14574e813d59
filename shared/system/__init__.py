"""The room of shared with I/O; SQLite files have shared/sqlite.

Files, keys, sockets, processes, signals, the clock; imports errors only.
"""
