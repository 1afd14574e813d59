"""Moments of units, and the coordinates in which a model learns: centred, whitened, exact.

Pure, imports models, features, canonical forms and errors.
"""
