"""The Merkle log of a run, its leaves and its file.

Pure, imports protocol and below.
"""
