"""Drafts of studies from a file of yours.

Imports records, typologies and shared.
"""
