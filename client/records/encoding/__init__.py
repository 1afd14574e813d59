"""Records as encoded units.

Imports records sources and shared.
"""
