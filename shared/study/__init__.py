"""The study, the one file that all members agree on, and the questions that it may ask.

Pure, imports features, privacy and below.
"""
