"""What an institution gains on its own customers from a shared model; stays inside.

Imports scoring and below, and shared.
"""
