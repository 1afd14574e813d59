"""The coordinator's console loads no machine for learning, and nothing that fits."""

import subprocess
import sys
from pathlib import Path
from typing import Final

HEAVY: Final = frozenset(
    {"duckdb", "matplotlib", "opacus", "pandas", "pyarrow", "scipy.optimize", "sklearn", "torch"}
)
SOLVER: Final = frozenset({"scipy.optimize"})  # of the advice: what so few cases can teach

# A fresh interpreter says what it holds, once it has checked and priced each study that is typed.
CHECKS: Final = """
import sys
import fieldfare.server.console.process
from fieldfare.server.studies.draft_check import AroundDraft, check_draft
from tests.support.homes.institutions import home_study
from tests.support.system.packages import MODEL

for model in ({"kind": "mlp", "hidden": [64, 32], "rows": 4}, MODEL):
    found = check_draft(home_study(model=model), AroundDraft())
    assert not found.problems and found.facts and found.price and found.leaves, found
print(*sys.modules)
"""


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    return {*done.stdout.split()}


def test_what_serves_pages_loads_no_machine_for_learning() -> None:
    """A console has 300 MB, of which 64 are a password's while somebody logs in."""
    code = "import sys, fieldfare.server.console.process; print(*sys.modules)"
    assert HEAVY & loaded(code) == set()


def test_what_checks_a_network_or_a_named_module_loads_no_machine_for_it() -> None:
    """Their sizes follow from the study; a named module is built by whoever signs it."""
    assert HEAVY & loaded(CHECKS) <= SOLVER
