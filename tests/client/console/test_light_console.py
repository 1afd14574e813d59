"""The console's process loads nothing that reads records, and no machine for learning."""

import subprocess
import sys
from typing import Final

HEAVY: Final = frozenset(
    {"adbc_driver_manager", "duckdb", "flwr", "matplotlib", "opacus", "pandas", "pyarrow"}
    | {"scipy.optimize", "sklearn", "torch"}
)


def test_what_serves_pages_loads_no_engine_of_records() -> None:
    """Together they are 100 MB, and more reach of whoever takes the process over."""
    code = "import sys, fieldfare.client.console.process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & {*done.stdout.split()} == set()
