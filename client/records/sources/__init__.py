"""Files and databases as sources of rows.

Imports shared only.
"""
