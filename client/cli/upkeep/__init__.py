"""The commands by which an institution is kept running, and kept over the years.

Decide nothing, may import every room of client.
"""
