"""The outer zone.

Imports client.wire and shared only, transitively; no records, no ledger, no keys to data.
"""
