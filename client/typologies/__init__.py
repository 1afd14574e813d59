"""Indicators of the typologies, from canonical tables.

Imports records and shared.
"""
