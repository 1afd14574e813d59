"""The report of a simulation, as page and on screen.

Imports shared.pages only.
"""
