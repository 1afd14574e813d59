"""An institution's own best model, and its stack with the shared one: fitted at home, for home.

And what an institution gains by joining, on its own customers; that stays inside. Imports shared
alone.
"""
