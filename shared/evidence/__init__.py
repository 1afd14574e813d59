"""The evidence of a run or a study, as a pack of pages and files that a supervisor can check.

Pure: facts in, parts and bytes out. Imports audit, finished_model, pages and below.
"""
