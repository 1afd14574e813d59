"""SQLite files: private, durable, and every failure an error that says what to do.

Imports errors and system only. Nobody who faces the network imports it.
"""
