"""SQLite files: private, durable, and every failure an error with its remedy.

Imports errors and system only. Nobody who faces the network imports it.
"""
