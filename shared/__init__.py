"""The code that every party runs: the study, the basis, privacy accounting, the secure sum."""
