"""The commands of a coordinator.

Decide nothing, may import every room of server.
"""
