"""Which files a person may have deleted by hand, and how one goes.

Imports evidence and below.
"""
