"""How a role is installed as a service of the operating system: units, users, folders.

Imports errors only. The files lie in `files/`; a role's command fills in where things are.
"""
