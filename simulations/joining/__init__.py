"""Should we join: all of it, over many seeds.

Imports demo, federation and world.
"""
