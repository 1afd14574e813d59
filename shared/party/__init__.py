"""What both kinds of party keep: a home's files, backup, deletion, service units, packages.

Imports evidence and below. A home's files are known without a study, for every process opens one
(contracts of import-linter); each party's table is its own (client/home/files.py,
server/home/files.py). Units lie in `units/`, locks in `locks/`.
"""
