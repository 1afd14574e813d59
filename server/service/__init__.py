"""The processes of a coordinator that carry out runs.

Imports run, superlink, home and below.
"""
