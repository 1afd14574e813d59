"""What a member reviews and approves before a study runs.

Imports institution, policy, journal, ledger and below.
"""
