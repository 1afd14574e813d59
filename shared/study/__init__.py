"""The study, the one file that all members agree on.

Pure, imports queries, features, privacy and below.
"""
