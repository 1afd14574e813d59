"""A party's backup: one encrypted file that a recovery key opens, and what may be in it.

Imports canonical, errors, protocol, sqlite and system only.
"""
