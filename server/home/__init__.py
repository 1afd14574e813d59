"""The folder of a coordinator.

Layout, settings, authority, decisions; imports shared only.
"""
