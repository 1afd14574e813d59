"""What the documents name exists: links, make targets, files, commands."""

import re
from pathlib import Path

import pytest

from fieldfare.shared.cli.root import commands

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
# Where source and tests say why: `docs/design.md, "The door"`, on one line or wrapped.
CITATION = re.compile(r'(docs/[\w./-]+\.md),[\s#]+(?:--\s+)?"([^"]+)"')
DEAD_CITATION = re.compile(r"design[\s#-]+section", re.IGNORECASE)
CITING = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("api", "shared", "client", "server", "simulations", "studies", "tests")
    for path in (ROOT / folder).rglob("*.*")
    if path.suffix in {".py", ".sql", ".toml", ".yaml", ".html", ".proto"}
    and path != Path(__file__)  # it holds wrong ones on purpose
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
    known = {".".join(name.split(".")[:2]) for name in commands()}  # deeper levels: as far as two
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


def headings(document: str) -> set[str]:
    return set(re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE))


def misnamed(text: str) -> list[tuple[str, str]]:
    """Citations of a document that is not there, or of a heading that it does not have."""
    cited = [(file, " ".join(heading.split())) for file, heading in CITATION.findall(text)]
    return [
        (file, heading)
        for file, heading in cited
        if not (ROOT / file).is_file() or heading not in headings(file)
    ]


def test_every_cell_of_the_promises_is_a_test_or_a_no() -> None:
    """SECURITY.md, "Against whom each of them holds": a cell that names nothing proves nothing."""
    table = text_of("SECURITY.md").partition("### Against whom")[2].partition("\n### ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 1
    for promise, *cells in rows[1:]:
        for cell in cells:
            named = re.findall(r"`([\w/]+)`", cell)
            there = [(ROOT / "tests" / f"{name}.py").exists() for name in named]
            said = cell in {"-", "no", "the same", "as the coordinator"} or cell[:3] in {
                "no:",
                "no,",
            }
            same = cell.startswith("the same;")
            assert said or same or (named and all(there)), f"{promise}: {cell}"


def test_every_attack_that_worked_has_tests_that_can_fail() -> None:
    """docs/attacks.md: each attack of the reading, its tests, and a mutant of its own, or a no."""
    table = text_of("docs/attacks.md").partition("\n| attack | what was done |")[2]
    lines = [line for line in table.partition("\n\n")[0].splitlines() if line.startswith("| ")]
    rows = {row[0]: row[2:] for row in (line.strip("| ").split(" | ") for line in lines)}
    assert len(rows) == len(lines)  # no number twice
    counts = {"C": 3, "H": 4, "M": 7, "L": 8}  # of the first reading; later ones go on from there
    assert set(rows) >= {f"{kind}{n}" for kind, most in counts.items() for n in range(1, most + 1)}
    bugs = re.findall(r'^bug = ".*\(([A-Z0-9, ]+)\)"$', text_of("tests/mutants.toml"), re.MULTILINE)
    mutants = {attack for bug in bugs for attack in bug.split(", ")}
    for attack, (tests, marks, no) in rows.items():
        named = re.findall(r"`([\w/.]+)::(\w+)`", tests)
        lost = [name for file, name in named if f"def {name}(" not in text_of(f"tests/{file}")]
        assert not lost, attack
        assert ("mutant" in marks) == (attack in mutants), attack
        assert (named and marks != "-") or no != "-", attack


def test_citations_name_headings_that_exist() -> None:
    texts = {name: text_of(name) for name in (*CITING, *DOCUMENTS)}
    assert sum(len(CITATION.findall(text)) for text in texts.values()) > 100
    assert {name: misnamed(text) for name, text in texts.items() if misnamed(text)} == {}


def test_no_file_cites_a_section_of_a_document_that_is_not_here() -> None:
    assert [
        name
        for name in (*CITING, *DOCUMENTS, "pyproject.toml")
        if DEAD_CITATION.search(text_of(name))
    ] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('see docs/design.md, "The door".', 0),
        ('see docs/design.md, "The\n    door".', 0),
        ('see docs/design.md,\n# "The door".', 0),
        ('see docs/design.md, "The window".', 1),
        ('see docs/no-such-page.md, "The door".', 1),
    ],
)
def test_a_wrong_citation_is_seen(text: str, wrong: int) -> None:
    assert len(misnamed(text)) == wrong


def test_every_decision_is_in_the_index() -> None:
    index = text_of("docs/README.md")
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert records
    assert [record.name for record in records if record.name not in index] == []
