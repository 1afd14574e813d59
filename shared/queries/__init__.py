"""Shared questions, their columns and their layout in a sum.

Pure, imports features, privacy and below.
"""
