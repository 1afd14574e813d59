"""How a coordinator is kept over the years: figures, notices, witnesses, backup, restore.

Imports studies, superlink, members, home, store and shared. Its watch, its notices and what asks
witnesses are processes of their own; watch and notices hold no key, and the watch
no token (import-linter).
"""
