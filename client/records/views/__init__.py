"""Whether one value can make a view or a query of a database fail.

Imports sources and shared.
"""
