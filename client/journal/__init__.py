"""The tamper-evident journal of an institution's decisions.

Imports home, custodian ports and shared.
"""
