"""In which format every file of a home is, and whether this version knows it; cells of CSV.

Imports sqlite, system and errors. Each party's table is its own (client/home/files.py,
server/home/files.py).
"""
