"""What an evaluation's sums say, by score and by group.

Imports study, privacy and below.
"""
