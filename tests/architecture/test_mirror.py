"""A newcomer finds the test of a module without searching: `a/b.py` -> `tests/a/test_b.py`."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("api", "shared", "client", "server", "simulations")
MODULES = sorted(
    path.relative_to(ROOT)
    for part in PARTS
    for path in (ROOT / part).rglob("*.py")
    if path.name != "__init__.py" and "_pb2" not in path.name
)

# Modules without a mirrored test, and where they are tested instead. Keep this list short.
TESTED_ELSEWHERE = {
    "shared/models/interface.py": "protocols and one record; the tests of models implement them",
}


def mirrors_of(module: Path) -> list[Path]:
    """`tests/a/test_b.py`, and `tests/a/test_b_*.py` where one file would grow too long."""
    folder = ROOT / "tests" / module.parent
    return [*folder.glob(f"test_{module.stem}.py"), *folder.glob(f"test_{module.stem}_*.py")]


def test_every_module_has_its_test() -> None:
    mirrored = [m for m in MODULES if m.as_posix() not in TESTED_ELSEWHERE]
    assert [f"tests/{m.parent}/test_{m.stem}.py" for m in mirrored if not mirrors_of(m)] == []


def test_the_list_of_exceptions_names_modules_that_exist() -> None:
    gone = [name for name in TESTED_ELSEWHERE if not (ROOT / name).is_file()]
    assert not gone, f"strike from the list: {gone}"
