"""The process that faces the network loads nothing of the inner zone, found out by starting it."""

import json
import subprocess
import sys

import pytest

INNER = ("custodian", "ledger", "records", "sums", "scoring", "alerts", "journal", "home", "policy")
HEAVY = ("adbc_driver_manager", "duckdb", "lxml", "opendp", "pyarrow", "scipy", "sqlite3", "torch")
LOAD = "import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"


def loaded(module: str) -> set[str]:
    """Return the modules that a fresh interpreter has after one import."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_the_nodes_process_loads_no_inner_module_and_no_library_of_theirs() -> None:
    found = loaded("fieldfare.client.node.process")
    own = {name for name in found if name.startswith("fieldfare.client.")}
    rooms = {name.split(".")[2] for name in own}
    assert rooms == {"node", "wire"}
    assert not found & set(HEAVY)


@pytest.mark.parametrize(
    ("process", "late"),
    [
        ("client.desk.process", ("client.approvals", "client.custodian", "client.institution")),
        ("client.desk.deciding", ("client.custodian", "client.institution.open", "shared.models")),
        ("server.upkeep.watch_process", ("server.studies", "server.store", "shared.models")),
    ],
)
def test_a_process_that_waits_holds_nothing_of_what_it_waits_for(
    process: str, late: tuple[str, ...]
) -> None:
    found = loaded(f"fieldfare.{process}")
    assert not {name for name in found for room in late if name.startswith(f"fieldfare.{room}")}
    assert not found & {"duckdb", "opendp", "pyarrow", "sklearn", "torch"}


def test_what_is_looked_for_would_be_seen() -> None:
    found = loaded("fieldfare.client.daemon.process")
    assert {name for name in INNER if f"fieldfare.client.{name}" in found} >= {
        "custodian",
        "ledger",
    }
    assert {"sqlite3", "scipy"} <= found
