"""Typologies as data: published red flags, each one YAML file and one SQL query.

`R01.yaml` gives an indicator's meaning, its source and its look-alikes; `R01.sql`
computes it from canonical records. `docs/typologies.md` explains both, and how to add one.
"""
