"""A member's review and approval before a study runs.

Imports institution, policy, journal, ledger and below.
"""
