"""Drafts of studies from an own file.

Imports records, typologies and shared.
"""
