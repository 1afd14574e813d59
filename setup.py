"""Map the top-level folders to the `fieldfare` import root, and build the same bytes everywhere.

The rest is in pyproject.toml. A wheel's bytes follow from the sources and setuptools alone: not
from the clock, the umask, the checkout's modes, an earlier build or the machine's zlib.
"""

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel

ROOT = "api"  # fieldfare itself
PARTS = ("server", "client", "shared", "simulations")
EPOCH = "315532800"  # 1980-01-01, the first day that a zip file can name


class SameBytes(bdist_wheel):
    """A wheel that two machines build alike."""

    def run(self) -> None:
        """Build into an empty folder: what an earlier build left there would be taken along."""
        shutil.rmtree(self.get_finalized_command("build").build_lib, ignore_errors=True)
        super().run()

    def write_wheelfile(self, wheelfile_base: str, *arguments: str) -> None:
        """Write the last file before the archive, and give every file the same modes."""
        super().write_wheelfile(wheelfile_base, *arguments)
        for path in Path(wheelfile_base).parent.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)


os.environ.setdefault("SOURCE_DATE_EPOCH", EPOCH)
found = find_packages(include=[p for part in PARTS for p in (part, f"{part}.*")])
found += find_packages(ROOT)
setup(
    packages=["fieldfare", *(f"fieldfare.{name}" for name in found)],
    package_dir={"fieldfare": ROOT, **{f"fieldfare.{part}": part for part in PARTS}},
    cmdclass={"bdist_wheel": SameBytes},
    options={"bdist_wheel": {"compression": "stored"}},  # zlib's output changes between versions
)
