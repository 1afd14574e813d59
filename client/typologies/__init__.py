"""Typologies as data: published red flags, each one YAML file and one SQL query.

`R01.yaml` says what an indicator means, where it comes from and what looks like it; `R01.sql`
computes it from canonical records. `docs/typologies.md` explains both, and how to add one.
"""
