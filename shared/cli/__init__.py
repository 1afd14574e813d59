"""The root command and the commands that need no role.

Decide nothing, may import every room of shared.
"""
