"""How a party is told how its processes stand: metrics, health, log lines, notices to people.

A notice is a fixed sentence with ids of studies and runs, by e-mail and webhook. Imports protocol,
study, sqlite, system and below. Nothing here reads a record, a ledger or a key.
"""
