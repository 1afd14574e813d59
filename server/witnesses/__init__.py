"""The log of heads on its way to witnesses outside the federation, and a run as it is published.

Imports store, home and below.
"""
