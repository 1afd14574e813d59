"""A finished model at work in the institution.

Imports scoring, institution, records and below.
"""
