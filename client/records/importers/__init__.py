"""Importers of foreign formats into canonical tables.

Import records canonical and shared.
"""
