"""For every test: what takes long on a busy machine is no failure; benchmarks time things."""

from hypothesis import settings

settings.register_profile("fieldfare", deadline=None)
settings.load_profile("fieldfare")
