"""Public starts: curves that are learned without privacy in a world where nobody exists.

May import the invented world, and what institutions read records with.
"""
