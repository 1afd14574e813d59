"""Features with public bounds, as rows and as text hashes.

Pure, imports errors and canonical forms only.
"""
