"""There is one door: only `client/custodian/release.py` calls what makes a release."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOOR = "client/custodian/release.py"
STOCK = "client/custodian/noise_stock.py"
CLIENT = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for path in sorted((ROOT / "client").rglob("*.py"))
}

# A call that only the door may make, and the modules that implement it.
SUMS = ("client/sums/", "client/sums/partitions.py")
DOOR_CALLS: dict[str, str | tuple[str, ...]] = {
    "keep_waiting": "client/ledger",  # what waits for its opening
    "commit_waiting": "client/ledger",  # debit and reply, in one transaction
    "vector": ("client/sums/", "client/sums/partitions.py"),  # the raw sum of a release
    "answers": (
        "client/sums/",
        "client/sums/partitions.py",
    ),  # the raw sum of a group of questions
    "draws": STOCK,  # this institution's share of the noise
    "mask": "shared/secure_sum",
    # What leaves first; the far end reads it off the wire.
    "CommitmentReply": (DOOR, "client/node/remote_custodian.py"),
    "Commitment": DOOR,
    "Reply": DOOR,  # what is signed with it
}
# What calls a function that it is handed.
CALLERS = {"submit", "map", "partial", "run_in_executor", "to_thread", "Thread"}


def parameters(tree: ast.AST) -> Iterator[ast.AST]:
    """Every place where a function reads a parameter of its own."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            own = {part.arg for part in ast.walk(function.args) if isinstance(part, ast.arg)}
            inside = ast.walk(function)
            yield from (n for n in inside if isinstance(n, ast.Name) and n.id in own)


def last_name(node: ast.expr) -> str:
    """Return what stands last in `a.b.c`, whatever `a` is; nothing of what is no name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@cache
def named(tree: ast.AST) -> tuple[tuple[int, frozenset[str]], ...]:
    """Return the line of every call, and the names of what is called there or handed on.

    A function's own parameter is what its caller handed over: looked for there.
    """
    given: set[ast.AST] | None = None
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        names = {last_name(node.func)}
        if names & CALLERS:
            given = set(parameters(tree)) if given is None else given
            handed = [*node.args, *(keyword.value for keyword in node.keywords)]
            names |= {last_name(part) for part in handed if part not in given}
        found.append((node.lineno, frozenset(names)))
    return tuple(found)


def calls(tree: ast.AST, name: str) -> Iterator[int]:
    """Lines where something of this name is called, as a function or as a method, or handed on."""
    return (line for line, names in named(tree) if name in names)


@pytest.mark.parametrize("name", DOOR_CALLS)
def test_only_the_door_releases(name: str) -> None:
    calling = {file for file, tree in CLIENT.items() if any(calls(tree, name))}
    assert DOOR in calling, f"the door does not call {name} any more: mend this list"
    elsewhere = {file for file in calling - {DOOR} if not file.startswith(DOOR_CALLS[name])}
    assert not elsewhere, f"{name} is the door's; make a kind of release instead"


def test_only_the_stock_that_the_door_draws_from_asks_for_noise() -> None:
    calling = {file for file, tree in CLIENT.items() if any(calls(tree, "sample"))}
    assert {file for file in calling if not file.startswith("client/sums/")} == {STOCK}


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


def test_a_call_that_is_handed_on_is_seen_and_a_parameter_of_the_same_name_is_not() -> None:
    tree = ast.parse("partial(ledger.commit)\nmap(commit, x)\ndef f(commit): partial(g, commit)")
    assert list(calls(tree, "commit")) == [1, 2]
