"""Features with public bounds, as rows and as text hashes.

Pure, imports errors, canonical forms and the texts of a terminal only.
"""
