"""The coordinator's console loads no machine for learning, and nothing that fits."""

import subprocess
import sys
from typing import Final

HEAVY: Final = frozenset(
    {"duckdb", "matplotlib", "opacus", "pandas", "pyarrow", "scipy.optimize", "sklearn", "torch"}
)


def test_what_serves_pages_loads_no_machine_for_learning() -> None:
    """A console has 300 MB, of which 64 are a password's while somebody logs in."""
    code = "import sys, fieldfare.server.console.process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & {*done.stdout.split()} == set()
