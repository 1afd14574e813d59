"""What `make mutants` says of a mutant: only a test that fails has caught it."""

from pathlib import Path

import pytest
from tests.mutants import (
    PASSED,
    ROOT,
    Mutant,
    NoMutantError,
    Tree,
    judged,
    main,
    mutants,
)

CODE = "def double(x):\n    return 2 * x\n"
TEST = "from fieldfare.shared.double import double\n\n\ndef test_it():\n    assert double(3) == 6\n"
CHILD = """\
import subprocess, sys


def test_it():
    code = "from fieldfare.shared.double import double; print(double(3))"
    assert subprocess.check_output([sys.executable, "-I", "-c", code]) == b"6\\n"
"""
BLIND = "def test_nothing():\n    pass\n"


def mutant(old: str = "2 * x", instead: str = "3 * x", test: str = "tests/test_it.py") -> Mutant:
    return Mutant("three times", "shared/double.py", old, instead, (test,))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    for part in ("api", "shared", "client", "server", "simulations", "tests"):
        (root / part).mkdir(parents=True)
    for name, text in {
        "api/__init__.py": "",
        "shared/__init__.py": "",
        "shared/double.py": CODE,
        "tests/test_it.py": TEST,
        "tests/test_child.py": CHILD,
        "tests/test_blind.py": BLIND,
        "tests/test_other.py": "import nowhere\n",
    }.items():
        (root / name).write_text(text)
    return Tree.linked(root, tmp_path)


@pytest.mark.parametrize(
    ("one", "caught", "why"),
    [
        (mutant(), True, "tests/test_it.py::test_it"),
        (mutant(test="tests/test_blind.py"), False, "all of its tests pass"),
        (mutant(test="tests/test_other.py"), False, "code 2"),
        (mutant(test="tests/test_gone.py"), False, "code 4"),
        (mutant(old="4 * x"), False, "found it 0 times"),
        (mutant(old="x"), False, "found it 2 times"),
        (mutant(instead="2 * x"), False, "expected a change"),
        (mutant(instead="2 * ("), False, "expected Python"),
    ],
    ids=[
        "caught",
        "blind",
        "collecting fails",
        "no test",
        "gone",
        "twice",
        "same",
        "no Python",
    ],
)
def test_only_a_test_that_fails_has_caught_a_mutant(
    one: Mutant, caught: bool, why: str, tree: Tree
) -> None:
    verdict = tree.judge(one)
    assert (verdict.caught, why in verdict.why) == (caught, True), verdict.why
    assert (tree.folder / "shared" / "double.py").read_text() == CODE  # put back


def test_what_a_test_starts_runs_the_code_of_the_tree(tree: Tree) -> None:
    """It ran what is installed: whatever a mutant changed in a worker, its tests passed."""
    assert tree.pytest(["tests/test_child.py"])[0] == PASSED
    assert tree.judge(mutant(test="tests/test_child.py")).caught


def test_a_code_without_a_failed_test_is_no_verdict() -> None:
    assert judged(1, "1 error in 0.1s") == (
        False,
        "expected a test that fails, found pytest's code 1: 1 error in 0.1s",
    )


def test_every_mutant_fits_its_file_and_names_tests_that_exist() -> None:
    for one in mutants():
        one.applied((ROOT / one.file).read_text())
        assert one.tests, one.bug
        for test in one.tests:
            file, _, name = test.partition("::")
            assert not name or f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), (
                one.bug
            )


def test_a_bug_stands_in_the_table_once(tmp_path: Path) -> None:
    row = '[[mutant]]\nbug = "b"\nfile = "f"\nold = "o"\ninstead = "i"\ntests = ["t"]\n'
    (tmp_path / "twice.toml").write_text(row + row)
    with pytest.raises(NoMutantError, match="found twice: b"):
        mutants(tmp_path / "twice.toml")


def test_a_text_of_no_mutant_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--only", "no bug says this"])
