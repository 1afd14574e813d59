"""Published data sets as records.

Imports client.records and client.typologies.
"""
