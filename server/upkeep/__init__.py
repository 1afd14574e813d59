"""How a coordinator is kept over the years: figures, notices, witnesses, backup, restore.

Imports studies, superlink, members, home, store and shared. Its watch, its notices and what asks
witnesses are processes of their own; the watch holds no key and no token (import-linter).
"""
