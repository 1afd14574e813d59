"""Importers: what other programs write, read into canonical records (`docs/records.md`).

Each takes what it declares and looks at nothing else: names, addresses, birth dates, narratives
and the text of payments stay in the source (design section 8, rules 4 and 6).
"""
