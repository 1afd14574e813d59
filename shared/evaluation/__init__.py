"""Results of an evaluation's sums, by score and by group.

Imports study, privacy and below.
"""
