"""The canonical tables that indicators read.

Imports records sources and shared.
"""
