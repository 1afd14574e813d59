"""What each role installs is what its code imports; what networks need is loaded by them alone."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from tests.support.homes.institutions import home_study
from tests.support.system.packages import MODEL, PACKAGE, install, without, without_torch

from fieldfare.client.cli import app as client
from fieldfare.server.cli import app as server
from fieldfare.shared.advice import EXTRA_OF, told
from fieldfare.shared.cli import app as shared
from fieldfare.shared.cli.root import ROLES
from fieldfare.shared.errors import PackageError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.allowed_packages import permit
from fieldfare.simulations.cli import app as simulations

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMANDS = {
    name: module
    for part in (client, server, shared, simulations)
    for name, module in part.modules.items()
}
TORCH = ("torch", "opacus", "captum")
PROVIDER = ("joserfc",)  # of a console behind a provider, which names its extra where it lacks
BESIDE = (
    "interpret",
    "mlflow",
    "ray",
    "sqlglot",
)  # extras of their own: loaded in functions that ask for them
DRAWING = ("opendp",)  # loaded where a custodian draws exact noise, in a module that all read
# Processes that commands start as `python -m`, by role.
PROCESSES = {
    "node": ("client.node.process", "client.cli.node", "client.stock_node"),
    "institution": (
        "client.console.process",
        "client.daemon.process",
        "client.desk.process",
        "client.oversight.notices_process",
        "client.sums.worker_process",
        "client.records.sources.database_process",
    ),
    "coordinator": (
        "server.console.process",
        "server.desk.process",
        "server.upkeep.notices_process",
        "server.service.run_process",
        "server.service.runner_process",
        "server.upkeep.witnesses_process",
        "server.superlink.process",
        "server.stock_server",
        "server.upkeep.watch_process",
    ),
    "demo": (),
    "auditor": (),
}
# Of both parties: each brings what its own home needs, by a table of its part.
UPKEEP = ("backup", "console", "delete", "deletions", "notices", "recovery", "restore", "service")
# Commands by role: what stands before the first dot of their names, or a whole name.
HEADS = {
    "node": ("service", "software"),
    "auditor": ("audit", "study.check", "study.plan", "study.sign", "software"),
    "institution": (
        "institution",
        "records",
        "study",
        "typologies",
        "audit",
        "evidence",
        "watch",
        *UPKEEP,
    ),
    "coordinator": ("coordinator", "query", "audit", "evidence", "watch", *UPKEEP),
    "demo": (
        "demo",
        "simulate",
        "federation",
        "model",
        "world",
        "study.join",
        "attack",
        "sweep",
    ),
}
LIGHT = (
    "lab.running", "simulations.cli.simulate", "simulations.federation.simulate",
    "simulations.cli.federation",
    "simulations.world.making", "client.cli.scoring", "client.model_use.score",
    "client.scoring.ranking", "client.daemon.process", "client.node.process", "client.cli.run",
    "client.cli.upkeep.start",
    "client.stock_node", "server.cli.runs", "server.service.run_process",
    "server.service.runner_process", "server.superlink.process", "server.answers.sets",
    "shared.cli.audit",
)  # fmt: skip


def names(requirements: list[str]) -> Iterator[str]:
    for line in requirements:
        name = line.partition(";")[0].strip()
        if name.startswith("fieldfare["):
            for extra in name.removeprefix("fieldfare[").removesuffix("]").split(","):
                yield from names(PROJECT["optional-dependencies"][extra])
        else:
            yield "".join(c if c.isalnum() or c in "-_." else " " for c in name).split()[0].lower()


def installed(role: str) -> set[str]:
    """Distributions that a role's installation names, without those that they bring."""
    return set(names(PROJECT["dependencies"])) | set(names(PROJECT["optional-dependencies"][role]))


def head_of(command: str) -> str:
    named = {head for heads in HEADS.values() for head in heads}
    return command if command in named else command.partition(".")[0]


def modules_of(role: str) -> set[str]:
    loaded = {f"fieldfare.{name}" for name in PROCESSES[role]}
    tables = (app.party.tables for app in (client, server) if app.party and app.party.name == role)
    loaded |= {target.rpartition(".")[0] for table in tables for target in table.values()}
    for name, target in COMMANDS.items():
        if head_of(name) in HEADS[role]:
            loaded.add(target)
    return loaded


@pytest.fixture(scope="module")
def graph() -> Iterator[grimp.ImportGraph]:
    with pytest.MonkeyPatch.context() as patch:  # the parts lie below the root in there
        patch.syspath_prepend(str(ROOT / ".typing"))
        patch.delitem(sys.modules, "fieldfare", raising=False)
        yield grimp.build_graph(
            "fieldfare",
            include_external_packages=True,
            exclude_type_checking_imports=True,  # the root names its lab to type checkers alone
            cache_dir=None,
        )


def reached(graph: grimp.ImportGraph, modules: set[str]) -> set[str]:
    """Everything that is imported on the way: by these, in functions too, and by their packages."""
    found: set[str] = set()
    waiting = set(modules)
    while waiting:
        name = waiting.pop()
        found.add(name)
        if name.startswith("fieldfare"):
            above = {name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)}
            waiting |= (above | graph.find_modules_directly_imported_by(name)) - found
    return found


@pytest.mark.parametrize("role", PROCESSES)
def test_a_role_imports_what_it_installs_and_nothing_else(
    role: str, graph: grimp.ImportGraph
) -> None:
    outside = {name.partition(".")[0] for name in reached(graph, modules_of(role))}
    outside -= {"fieldfare", *BESIDE, *TORCH, *PROVIDER, *DRAWING, *sys.stdlib_module_names}
    brought = packages_distributions()
    needed = {name: {d.lower().replace("_", "-") for d in brought[name]} for name in outside}
    lacking = {name for name, bringers in needed.items() if not bringers & installed(role)}
    # Of libraries that are named for others' sake (typer brings click, flwr brings these).
    assert lacking - {"click", "markupsafe"} == set()


def test_every_command_and_every_process_is_of_a_role() -> None:
    heads = {head for role in HEADS.values() for head in role}
    assert {head_of(name) for name in COMMANDS} == heads
    assert set(ROLES) <= {head.rpartition(".")[2] for head in heads}
    assert set(ROLES.values()) <= set(PROCESSES)
    parts = [path for part in ("client", "server") for path in (ROOT / part).rglob("*process.py")]
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in parts}
    assert found <= {name for role in PROCESSES.values() for name in role}


def test_the_node_reaches_no_records_no_sums_and_no_ledger(graph: grimp.ImportGraph) -> None:
    """The outer zone: not in its own lines, nor in anything that it imports on the way."""
    rooms = ("records", "sums", "scoring", "typologies", "ledger", "custodian")
    inside = tuple(f"fieldfare.client.{room}" for room in rooms)
    found = reached(graph, modules_of("node"))
    assert {name for name in found if name.startswith(inside)} == set()


def test_no_role_but_torch_installs_torch() -> None:
    assert set(PROCESSES) < set(PROJECT["optional-dependencies"])
    for role in PROCESSES:
        assert not installed(role) & set(TORCH)
    assert set(TORCH) == set(names(PROJECT["optional-dependencies"]["torch"]))
    assert set(PROVIDER) == set(names(PROJECT["optional-dependencies"]["oidc"]))


def test_every_library_of_an_extra_says_which_one() -> None:
    brought = packages_distributions()
    for library, extra in EXTRA_OF.items():
        found = {name.lower() for name in brought[library]}
        assert found & set(names(PROJECT["optional-dependencies"][extra])), library
    told_of = {name.lower() for library in EXTRA_OF for name in brought[library]}
    for extra in ("institution", "coordinator", "torch"):
        assert set(names(PROJECT["optional-dependencies"][extra])) <= told_of


def test_light_paths_load_no_torch() -> None:
    code = f"""
import importlib, json, sys
loaded = {{}}
for name in {LIGHT!r}:
    importlib.import_module("fieldfare." + name)
    loaded[name] = [heavy for heavy in {TORCH!r} if heavy in sys.modules]
print(json.dumps(loaded))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {name: [] for name in LIGHT}


def test_a_network_has_no_plan_without_torch_and_a_module_none_without_opacus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(tmp_path, monkeypatch)
    permit([PACKAGE])
    network, module = home_study(model={"kind": "mlp", "hidden": [8]}), home_study(model=MODEL)
    with monkeypatch.context() as patch:
        without_torch(patch)
        for study in (network, module):
            with pytest.raises(PackageError, match=r"'fieldfare\[torch\]'"):
                plan_for(study)
        assert plan_for(home_study()).releases
    with monkeypatch.context() as patch:
        without(patch, "opacus")
        assert plan_for(network).releases
        with pytest.raises(PackageError, match=r"^expected opacus"):
            plan_for(module)


def test_a_library_of_an_extra_is_told_with_the_command_that_installs_it() -> None:
    found = told(ModuleNotFoundError("no", name="torch.nn"))
    assert isinstance(found, PackageError)
    assert "pip install 'fieldfare[torch]'" in str(found)
    assert "pip install 'fieldfare[institution]'" in str(told(ModuleNotFoundError(name="duckdb")))


def test_a_library_of_every_installation_is_a_defect() -> None:
    error = ModuleNotFoundError("no", name="numpy")
    assert told(error) is error
    assert told(nameless := ModuleNotFoundError("no")) is nameless
