"""A whole federation in one process, and its baselines.

Imports server and client.
"""
