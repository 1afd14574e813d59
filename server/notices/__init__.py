"""What a coordinator's people are told of.

Imports studies, superlink, store, home and shared.notices.
"""
