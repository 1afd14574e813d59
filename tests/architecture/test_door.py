"""There is one door: what makes a release a release is called in `client/release.py` only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOOR = "client/release.py"
CLIENT = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for path in sorted((ROOT / "client").rglob("*.py"))
}

# A call that only the door may make, and the modules that implement it.
DOOR_CALLS: dict[str, str | tuple[str, ...]] = {
    "commit": "client/ledger",  # debit and reply, in one transaction
    "vector": "client/sums/",  # the raw sum of a release
    "answers": "client/sums/",  # the raw sum of a group of questions
    "sample": "client/sums/",  # this institution's share of the noise
    "mask": "shared/secure_sum",
    "Released": (DOOR, "client/remote.py"),  # what leaves; the far end reads it off the wire
    "Reply": DOOR,  # what is signed with it
}
# What a module between the network and the custodian has no business to hold.
INSIDE = ("fieldfare.client.ledger", "fieldfare.client.records", "fieldfare.client.sums")
OUTER_ZONE = (
    "client/app.py",
    "client/fleet.py",
    "client/institution/cli_node.py",
    "client/institution/node_process.py",
    "client/institution/node_settings.py",
    "client/node.py",
    "client/remote.py",
    "client/stock_node.py",
    "client/tls.py",
)


# What calls a function that it is handed.
CALLERS = {"submit", "map", "partial", "run_in_executor", "to_thread", "Thread"}


def calls(tree: ast.AST, name: str) -> Iterator[int]:
    """Lines where something of this name is called, as a function or as a method, or handed on."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        handed = [*node.args, *(keyword.value for keyword in node.keywords)]
        names = {ast.unparse(part).rpartition(".")[2] for part in handed}
        if called == name or (called in CALLERS and name in names):
            yield node.lineno


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name", DOOR_CALLS)
def test_only_the_door_releases(name: str) -> None:
    calling = {file for file, tree in CLIENT.items() if any(calls(tree, name))}
    assert DOOR in calling, f"the door does not call {name} any more: mend this list"
    elsewhere = {file for file in calling - {DOOR} if not file.startswith(DOOR_CALLS[name])}
    assert not elsewhere, f"{name} is the door's; make a kind of release instead"


@pytest.mark.parametrize("file", OUTER_ZONE)
def test_the_outer_zone_holds_no_records_sums_or_ledger(file: str) -> None:
    inside = {name for name in imported(CLIENT[file]) if name.startswith(INSIDE)}
    assert not inside, f"{file} speaks to the custodian in bytes; it needs no {inside}"


@pytest.mark.parametrize("file", CLIENT)
def test_flowers_context_keeps_nothing(file: str) -> None:
    """What Context.state holds goes back to the coordinator's SuperLink: a way round the door."""
    touched = [
        node.lineno
        for node in ast.walk(CLIENT[file])
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("context.state")
    ]
    assert not touched


def test_a_call_is_seen_as_function_and_as_method() -> None:
    tree = ast.parse("ledger.commit(1)\ncommit(2)\nself._ledger.commit\ncommitted(3)")
    assert list(calls(tree, "commit")) == [1, 2]
