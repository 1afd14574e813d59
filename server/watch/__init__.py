"""What a coordinator tells of itself to who watches it.

Imports studies, superlink, store, home and shared.watch; it holds no key and no token.
"""
