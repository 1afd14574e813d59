"""Map the top-level folders to the `fieldfare` import root; the rest is in pyproject.toml."""

from setuptools import find_packages, setup

ROOT = "api"  # fieldfare itself
PARTS = ("server", "client", "shared", "simulations")
found = find_packages(include=[p for part in PARTS for p in (part, f"{part}.*")])
found += find_packages(ROOT)
setup(
    packages=["fieldfare", *(f"fieldfare.{name}" for name in found)],
    package_dir={"fieldfare": ROOT, **{f"fieldfare.{part}": part for part in PARTS}},
)
