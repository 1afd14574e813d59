"""A whole federation on one machine, with the baselines that it must beat."""
