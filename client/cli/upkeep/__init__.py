"""The commands by which an institution is kept over the years.

Decide nothing, may import every room of client.
"""
