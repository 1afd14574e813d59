"""The folder of an institution.

Layout, settings, keys, what it keeps; imports records, ledger and shared.
"""
