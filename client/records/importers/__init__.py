"""Importers: they read other programs' files into canonical records (`docs/records.md`).

Each takes what it declares and looks at nothing else: names, addresses, birth dates, narratives
and the text of payments stay in the source (docs/design.md, "The harm rules", rules 4 and 6).
"""
