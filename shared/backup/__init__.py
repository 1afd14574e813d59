"""A party's backup: one encrypted file that a recovery key opens, and what may be in it.

Imports canonical, errors, protocol, sqlite, system and the texts of a terminal only.
"""
