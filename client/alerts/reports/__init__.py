"""Drafts of reports to authorities.

Imports records, scoring and shared only.
"""
