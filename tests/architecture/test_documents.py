"""What the documents name exists: links, make targets, files, commands."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
MAKE = re.compile(r"(?:`|^ {4}|^\$ )make (?:[A-Z]+=\S+ )*([a-z]+)", re.MULTILINE)
COMMAND = re.compile(r"^ {4}fieldfare ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
NAMED_FILE = re.compile(
    r"`((?:api|shared|client|server|simulations|tests|docs|studies)/[\w./-]+\.\w+)`"
)
# Hosts that a file of ours has no business to name: a package comes from wherever the
# reader's own installer is pointed at.
INDEX_HOSTS = re.compile(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    lost = [link for link in LINK.findall(text_of(document)) if not (folder / link).exists()]
    assert not lost


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    assert set(MAKE.findall(text_of(document))) <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_registered(document: str) -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    names = set(project["entry-points"]["fieldfare.commands"])
    known = {".".join(name.split(".")[:2]) for name in names}  # deeper levels: as far as two
    for command, subcommand in COMMAND.findall(text_of(document)):
        assert {command, f"{command}.{subcommand}"} & known, f"fieldfare {command} {subcommand}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_exist(document: str) -> None:
    lost = {name for name in NAMED_FILE.findall(text_of(document)) if not (ROOT / name).exists()}
    assert not lost


@pytest.mark.parametrize(
    "name", [*DOCUMENTS, "Makefile", "pyproject.toml", "setup.py", ".ci/run", ".gitignore"]
)
def test_nothing_depends_on_this_machine_or_on_one_package_index(name: str) -> None:
    assert str(ROOT) not in text_of(name)
    assert not INDEX_HOSTS.search(text_of(name))


def test_every_decision_is_in_the_index() -> None:
    index = text_of("docs/README.md")
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert records
    assert [record.name for record in records if record.name not in index] == []
