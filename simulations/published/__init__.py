"""What comes from published figures: data sets as records, and public starts.

A start is curves that are learned without privacy in a world where nobody exists. Imports the
invented world, client.records and client.typologies.
"""
