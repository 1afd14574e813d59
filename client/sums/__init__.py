"""Bounded sums over all units, the only thing that is released.

Units may be cut up by a hash of their ids, with one sum over all parts. Imports records, the frames
of wire, and shared.
"""
