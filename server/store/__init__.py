"""The run store, one SQLite file.

Imports home and shared.
"""
