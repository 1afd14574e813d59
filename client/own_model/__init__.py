"""An institution's own best model, and its stack with the shared one: fitted at home, for home.

Imports shared alone.
"""
