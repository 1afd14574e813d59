"""Who may import whom, and through which doors (docs/design.md, "Rooms")."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("shared", "client", "server", "simulations")
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
PUBLIC_FLOWER = ("flwr.app", "flwr.clientapp", "flwr.serverapp")


def modules(part: str) -> dict[str, ast.Module]:
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for path in sorted((ROOT / part).rglob("*.py"))
    }


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports; `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reaches_into_flower(tree: ast.AST) -> bool:
    return any(
        name.startswith("flwr.")
        and not any(f"{name}.".startswith(f"{public}.") for public in PUBLIC_FLOWER)
        for name in imported(tree)
    )


def lint_imports(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the `fieldfare` that `tree` holds, under the project's contracts."""
    return subprocess.run(
        [sys.executable, LINT_IMPORTS, "--no-cache", "--config", ROOT / "pyproject.toml", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tree,
        env={"PYTHONPATH": str(tree), "PATH": ""},
    )


@pytest.mark.promises  # `make imports` runs the same in `make check`
def test_dependencies_go_one_way() -> None:
    done = lint_imports(ROOT / ".typing")
    assert done.returncode == 0, done.stdout


def test_the_contracts_see_every_module() -> None:
    assert graph_size(ROOT / ".typing") == sum(len(modules(part)) for part in ("api", *PARTS))


def graph_size(tree: Path) -> int:
    """Return how many modules of ours the contracts are held against."""
    count = "import grimp; print(len(grimp.build_graph('fieldfare').modules))"
    done = subprocess.run(
        [sys.executable, "-c", count],
        capture_output=True,
        text=True,
        check=True,
        cwd=tree,
        env={"PYTHONPATH": str(tree), "PATH": ""},
    )
    return int(done.stdout)


@pytest.mark.parametrize(
    ("importer", "imports"),
    [
        ("client", "server"),
        ("server", "client"),
        ("shared", "client"),
        ("server", "simulations"),
        ("shared", "__main__"),
    ],
)
def test_a_wrong_import_is_seen(importer: str, imports: str, tmp_path: Path) -> None:
    for part in PARTS:
        folder = tmp_path / "fieldfare" / part
        folder.mkdir(parents=True)
        shutil.copy(ROOT / part / "__init__.py", folder)
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "api" / name, tmp_path / "fieldfare")
    (tmp_path / "fieldfare" / importer / "wrong.py").write_text(f"import fieldfare.{imports}\n")
    done = lint_imports(tmp_path, "--contract", "parts")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"fieldfare.{importer}.wrong" in done.stdout


# What parts without a right to keys, to a log's writer or to a setup must not import, each one that
# would work: rule, file, import.
PLANTED = [
    ("a console imports", "client/console/journal_page.py", "client.journal.journal"),
    ("a console imports", "server/console/runs_page.py", "server.run.record"),
    ("an institution's console", "client/console/place.py", "client.home.keys"),
    ("an institution's console", "client/console/place.py", "client.journal.decisions"),
    ("an institution's console", "client/console/place.py", "shared.party.recovery_key"),
    ("a coordinator's console", "server/console/place.py", "server.home.certificate_authority"),
    ("a coordinator's console", "server/console/place.py", "server.home.roster_key"),
    ("a coordinator's console", "server/members/standing.py", "server.home.initial_setup"),
    ("a coordinator's console", "shared/cli/study.py", "shared.system.key_files"),
    ("who sends notices", "client/oversight/notice_facts.py", "client.home.keys"),
    ("who sends notices", "client/oversight/notices_process.py", "client.journal.decisions"),
    ("who sends notices", "server/upkeep/notice_facts.py", "server.home.initial_setup"),
    ("who sends notices", "server/upkeep/notices_process.py", "server.home.roster_key"),
    ("who sends notices", "shared/watch/dispatch.py", "shared.system.key_files"),
    ("who tells how a coordinator is", "server/upkeep/watch_process.py", "shared.system.key_files"),
    (
        "who tells how a coordinator is",
        "server/upkeep/watch_state.py",
        "server.home.certificate_authority",
    ),
    ("the outer zone reaches", "client/node/fleet.py", "shared.party.recovery_key"),
    ("the outer zone reaches", "client/node/fleet.py", "shared.system.token_keys"),
    ("the outer zone reaches", "client/node/state.py", "client.home.keys"),
    ("the outer zone reaches", "client/node/state.py", "client.journal.journal"),
]


@pytest.fixture(scope="module")
def broken_rules(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the sources with all of these, in one line."""
    root = tmp_path_factory.mktemp("tree") / "fieldfare"
    for part, place in (("api", root), *((part, root / part) for part in PARTS)):
        for path in (ROOT / part).rglob("*.py"):
            copy = place / path.relative_to(ROOT / part)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    for _, file, imports in PLANTED:
        before = (root / file).read_text("utf-8")
        (root / file).write_text(f"import fieldfare.{imports}\n{before}", "utf-8")
    return " ".join(lint_imports(root.parent).stdout.partition("Broken contracts")[2].split())


@pytest.mark.parametrize(("rule", "file", "imports"), PLANTED)
def test_a_planted_import_breaks_its_rule(
    rule: str, file: str, imports: str, broken_rules: str
) -> None:
    planted = ".".join(["fieldfare", *Path(file).with_suffix("").parts])
    said = re.search(rf" {rule}[^>]*? -{{8}}[- ]*(.*?)(?:-{{8}}|$)", broken_rules)
    assert said is not None, broken_rules
    assert f" {planted} -> fieldfare.{imports} (l." in said[1]


@pytest.mark.parametrize("part", PARTS)
def test_flowers_private_modules_are_reached_from_one_place(part: str) -> None:
    """Flower's private modules move between releases; one module per part takes the blow."""
    files = [path for path in sorted((ROOT / part).rglob("*.py")) if "flwr" in path.read_text()]
    assert files or part in {"shared", "simulations"}
    reaching = [str(path) for path in files if reaches_into_flower(ast.parse(path.read_text()))]
    allowed = 0 if part == "shared" else 1
    assert len(reaching) <= allowed, f"more than {allowed} module reaches into flwr: {reaching}"


@pytest.mark.parametrize(
    ("code", "private"),
    [
        ("from flwr.app import Message", False),
        ("import flwr.serverapp", False),
        ("from flwr.serverapp.strategy import FedAvg", False),
        ("from flwr.common import serde", True),
        ("from flwr import common", True),
        ("import flwr.supercore.task_identity", True),
        ("from flwr.application import x", True),
    ],
)
def test_private_flower_imports_are_told_from_public_ones(code: str, *, private: bool) -> None:
    assert reaches_into_flower(ast.parse(code)) is private
