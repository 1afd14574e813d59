"""Map the four top-level folders to the `fieldfare` import root; the rest is in pyproject.toml."""

from setuptools import find_packages, setup

PARTS = ("server", "client", "shared", "simulations")
found = find_packages(include=[p for part in PARTS for p in (part, f"{part}.*")])
setup(
    packages=[f"fieldfare.{name}" for name in found],
    package_dir={f"fieldfare.{part}": part for part in PARTS},
)
