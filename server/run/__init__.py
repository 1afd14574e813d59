"""Who conducts a run, and what it keeps.

Imports store, shared.run; reaches Flower's public API.
"""
