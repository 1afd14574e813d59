"""The demo.

Five banks in an invented world; imports federation, report, world.
"""
