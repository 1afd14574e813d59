"""A federation of real processes on one machine.

Imports demo, federation, server and client.
"""
