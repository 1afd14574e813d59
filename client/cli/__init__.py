"""The commands of an institution.

Decide nothing, may import every room of client.
"""
