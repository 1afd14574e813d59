"""The door and the process around it.

Imports wire, sums, ledger, never node.
"""
