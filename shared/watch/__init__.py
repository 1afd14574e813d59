"""What processes tell of themselves to who watches them: metrics, health, log lines.

Imports protocol, system and below. Nothing here reads a record, a ledger or a key.
"""
