"""Bounded sums over all units, the only thing that is released.

Imports records encoding and shared.
"""
