"""The folder of an institution.

Layout, settings, keys, what it keeps, and the policy: what may be approved, and why; imports
records, ledger and shared.
"""
