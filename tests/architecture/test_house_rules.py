"""House rules that a script can see, on every source file (CONTRIBUTING.md, "Size and shape")."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("api", "shared", "client", "server", "simulations")
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for part in PARTS
    for path in (ROOT / part).rglob("*.py")
    if "_pb2" not in path.name
)

LONGEST_FUNCTION = 60  # lines, without its docstring
LONGEST_FILE = 800
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}
# The rooms of shared/ that may reach the clock, entropy, processes or the environment; every other
# room there is core and gets them as arguments.
SHELL = (
    *("shared/system/", "shared/sqlite/", "shared/desk/", "shared/cli/"),
    *("shared/party/backup_archive.py", "shared/party/encrypted_stream.py"),
    *("shared/party/home_files.py", "shared/party/other_versions.py"),  # they walk a home's files
    *("shared/watch/exposition.py", "shared/watch/listener.py", "shared/watch/log.py"),
)
# The one handler of a process boundary that may catch everything: what is not caught there is
# sent to whoever called, text and all. It logs the error's type and answers without a text.
PROCESS_BOUNDARIES = {"client/wire/service.py": "gRPC sends an exception's text to the caller"}
# A message names the expected thing after the verb: "expected a file, found none". These are the
# other order: "a file expected", "one table expected where none is named", ", none found".
VERB_LAST = re.compile(
    r"[^\s:;,] expected"
    r"(?=$|[,;:.)]| (?:above|among|at|beside|for|from|in|of|on|under|where|whatever)\b)"
    r"|, (?!found)[^,;:]*[^,;:\s](?<! are) found(?=$|[,;:.)]| (?:at|in|under)\b)"
)
OUTSIDE_WORLD = {"os", "random", "secrets", "socket", "subprocess", "time"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def asserts(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert vanishes under python -O; raise an error"


def broad_excepts(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or _catches_all(node.type)):
            yield f"line {node.lineno}: broad except; name the errors that are expected here"
        if _suppresses_all(node):
            yield f"line {node.lineno}: broad suppress; name the errors that are expected here"


def _suppresses_all(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("suppress")
        and any(_catches_all(argument) for argument in node.args)
    )


def _catches_all(caught: ast.expr) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        ast.unparse(name).rpartition(".")[2] in {"Exception", "BaseException"} for name in names
    )


def long_functions(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and (lines := _length(node)) > LONGEST_FUNCTION:
            yield f"line {node.lineno}: {node.name} has {lines} lines, at most {LONGEST_FUNCTION}"


def _length(function: Function) -> int:
    docstring = ast.get_docstring(function, clean=False)
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    return lines - (docstring.count("\n") + 1 if docstring else 0)


def undocumented(tree: ast.Module) -> Iterator[str]:
    if ast.get_docstring(tree) is None:
        yield "the module has no docstring"
    yield from _undocumented_inside(tree)


def _undocumented_inside(scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in scope.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not _speaks_elsewhere(node):
            yield f"line {node.lineno}: {node.name} is public and has no docstring"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented_inside(node)


def _speaks_elsewhere(node: Function | ast.ClassDef) -> bool:
    """Overloads, setters and overrides are documented where they were declared."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(names & {"overload", "override", "setter"})


def empty_class_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name.lower().endswith(tuple(EMPTY_NAMES)):
            yield f"line {node.lineno}: {node.name} says nothing; name what it does"


def global_random(tree: ast.Module) -> Iterator[str]:
    """Draws from numpy's or Python's process-wide generator: noise that anybody may seed."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        module, _, name = ast.unparse(node.func).rpartition(".")
        draws = name[:1].islower() and name != "default_rng"
        if module in {"np.random", "numpy.random", "random"} and draws:
            yield f"line {node.lineno}: {module}.{name} draws from a global generator"


def verb_last(tree: ast.Module) -> Iterator[str]:
    for line, text in _texts(tree):
        if found := VERB_LAST.search(text):
            yield f"line {line}: {found[0]!r}; write: expected X, found Y"


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield texts that a user may see, with {} where a value stands: no docstrings."""
    inside = {id(part) for node in ast.walk(tree) for part in _parts(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(_spelled, node.values))
        elif isinstance(node, ast.Constant) and id(node) not in inside:
            yield node.lineno, _spelled(node)


def _parts(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the pieces of an f-string, and a string that is a statement by itself."""
    if isinstance(node, ast.JoinedStr):
        yield from node.values
    elif isinstance(node, ast.Expr):
        yield node.value


def _spelled(piece: ast.expr) -> str:
    if not isinstance(piece, ast.Constant):
        return "{}"
    return piece.value if isinstance(piece.value, str) else ""


RULES: dict[str, Callable[[ast.Module], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        asserts,
        broad_excepts,
        long_functions,
        undocumented,
        empty_class_names,
        global_random,
        verb_last,
    )
}
FORBIDDEN = {
    "asserts": ["def f(x):\n    assert x"],
    "broad_excepts": [
        "try:\n    x\nexcept:\n    pass",
        "try:\n    x\nexcept Exception:\n    pass",
        "try:\n    x\nexcept (ValueError, builtins.BaseException) as e:\n    raise",
        "with contextlib.suppress(Exception):\n    x",
    ],
    "long_functions": ["def f():\n" + "    x = 1\n" * LONGEST_FUNCTION],
    "undocumented": [
        "x = 1",
        '"""M."""\ndef f():\n    return 1',
        '"""M."""\nclass A:\n    """A."""\n    def f(self):\n        return 1',
    ],
    "empty_class_names": ["class RunManager:\n    pass"],
    "global_random": ["np.random.normal(0, 1)", "random.gauss(0, 1)"],
    "verb_last": [
        'raise KeysError("a file expected")',
        'x = "a file expected, none found: make one"',
        'x = f"{path}: {kind} expected; {found} found"',
        'x = "one table expected where none is named"',
        'x = ("expected a file, "\n    f"{found} found: make one")',
        'x = "codes expected, ", "others found"',
    ],
}
ALLOWED = {
    "asserts": "def f(x):\n    if not x:\n        raise ValueError",
    "broad_excepts": "try:\n    x\nexcept (ValueError, OSError):\n    pass",
    "long_functions": 'def f():\n    """Long.' + "\n" * LONGEST_FUNCTION + '"""\n    return 1',
    "undocumented": '"""M."""\ndef _f():\n    return 1\nclass A:\n    """A."""',
    "empty_class_names": "class Ledger:\n    pass",
    "global_random": "np.random.default_rng(0)\nrng.random(3)\nnp.random.Generator(bits)",
    "verb_last": """
'What is a file expected, none found.'
raise KeysError("expected a file, found none: make one")
x = f"{path}: expected {kind} of one of those, found {found} in them; make one"
x = "expected", "found", "the expected error"
x = "expected a file, a folder or a stream, found: no such file"
""",
}


@cache
def parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


@pytest.mark.parametrize("rule", RULES)
def test_source_keeps_the_rule(rule: str) -> None:
    found = {file: list(RULES[rule](parsed(file))) for file in FILES}
    if rule == "broad_excepts":
        for file in PROCESS_BOUNDARIES:
            assert len(found.pop(file)) == 1
    told = [f"{file}: {line}" for file, lines in found.items() for line in lines]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_sees_what_it_forbids_and_nothing_else(rule: str) -> None:
    for sample in FORBIDDEN[rule]:
        assert list(RULES[rule](ast.parse(sample))), sample
    assert not list(RULES[rule](ast.parse(ALLOWED[rule])))


def test_a_file_can_be_read_in_one_sitting() -> None:
    lines = {file: (ROOT / file).read_text().count("\n") for file in FILES}
    assert {file: count for file, count in lines.items() if count > LONGEST_FILE} == {}


def test_a_name_says_what_is_inside() -> None:
    """A name of this list says nothing: name what it does."""
    words = {f: {w for p in Path(f).with_suffix("").parts for w in p.split("_")} for f in FILES}
    assert {file: found for file in FILES if (found := words[file] & EMPTY_NAMES)} == {}


def test_a_class_name_means_one_thing() -> None:
    """A class that has another one's name is read as that one: give it its own field's term."""
    where: dict[str, set[str]] = {}
    for file in FILES:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, set()).add(file)
    assert {name: sorted(files) for name, files in where.items() if len(files) > 1} == {}
    assert len(where) > 500


def test_the_core_gets_clocks_and_randomness_as_arguments() -> None:
    """What is found here is core: take it as an argument."""
    core = [f for f in FILES if f.startswith("shared/") and not f.startswith(SHELL)]
    assert {Path(file).parts[1] for file in core} > {"models", "privacy", "protocol", "run"}
    reached = {f: {name.partition(".")[0] for name in _imports(parsed(f))} for f in core}
    assert {file: found for file in core if (found := reached[file] & OUTSIDE_WORLD)} == {}


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_a_signature_is_no_seal() -> None:
    """In cryptography, what is sealed is encrypted; messages here are signed."""
    word = re.compile(r"(?<![a-z])(?:un)?seal(?:ed|ing|s)?(?![a-z])", re.IGNORECASE)
    assert [file for file in FILES if word.search((ROOT / file).read_text())] == []
    assert word.search("roster.sealed")
    assert word.search("unseal(x)")


def test_test_folders_are_no_packages() -> None:
    """An __init__.py there would make equal test names collide (importmode=importlib)."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
