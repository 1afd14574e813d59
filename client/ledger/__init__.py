"""The privacy ledger of a population, hash-chained.

Imports shared only.
"""
