"""The processes of a coordinator that carry out runs.

Imports studies, run, superlink, home and below.
"""
