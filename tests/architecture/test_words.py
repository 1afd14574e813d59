"""The words of CONTRIBUTING.md: its table's left column stands in no name, text or document."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from fieldfare.shared.harm_rules import HARM_RULES

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = ("api", "client", "server", "shared", "simulations")
SCREENS: Final = {".html", ".jinja", ".md", ".toml", ".yaml"}  # beside Python: what people read
DOCUMENTS: Final = ("README.md", "SECURITY.md", "GOVERNANCE.md", "docs/**/*.md")
DECIDED: Final = "docs/adr"  # is never changed afterwards
ROW: Final = re.compile(r"^\| (?P<left>.+?) \| .+ \|$", re.MULTILINE)
PHRASE: Final = re.compile(r'"([^"]+)"')
TABLE: Final = (ROOT / "CONTRIBUTING.md").read_text().split("## Words")[1].split("\n## ")[0]
PHRASES: Final = [phrase for row in ROW.finditer(TABLE) for phrase in PHRASE.findall(row["left"])]

# Participles that do not end in -ed, and gerunds under which a class says what is done, not what
# it is. A gerund that the language has as a noun (opening, reading, setting, training) is none.
IRREGULAR: Final = frozenset((
    "been", "begun", "bound", "bought", "broken", "brought", "built", "chosen", "dealt", "done",
    "drawn", "driven", "felt", "forgotten", "found", "frozen", "given", "gone", "grown", "handed",
    "heard", "held", "hidden", "kept", "known", "laid", "learnt", "lent", "lost", "made", "meant",
    "paid", "ridden", "said", "seen", "sent", "shown", "sold", "sought", "spent", "split",
    "spoken", "stood", "stolen", "sworn", "taken", "taught", "told", "thought", "thrown",
    "understood", "won", "worn", "withheld", "written", "allowing", "asking", "checking",
    "continuing", "cosigning", "deleting", "hearing", "keeping", "leaving", "publishing",
    "serving", "settling", "vouching",
))  # fmt: skip
NOUNS: Final = frozenset(("bed", "deed", "feed", "need", "seed", "speed", "split"))
CLASSES: Final = {"Vouching": "a message, of the type `fieldfare.vouching`"}
# Functions that are named by a bare participle: this number only goes down.
MOST_FUNCTIONS: Final = 737
APART: Final = "\0"  # between two texts
STATES: Final = {"property", "cached_property", "setter"}  # what something is, not what is done

# Of each harm rule the words that no other sentence needs.
RULES: Final = (
    "never the subject of an alert", "no single indicator suffices", "the software ranks; people",
    "and postcode are no inputs", "look-alikes (night-shift", "no images, advertisement texts",
    "report was filed is itself secret",
)  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_participle(word: str) -> bool:
    return word in IRREGULAR - NOUNS or (word.endswith("ed") and word not in NOUNS)


def participle_classes(tree: ast.AST) -> Iterator[str]:
    """Classes whose last word is a participle: the name does not say what the value is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            last = re.split(r"(?=[A-Z])", node.name.strip("_"))[-1].lower()
            if is_participle(last) and node.name not in CLASSES:
                yield f"line {node.lineno}: {node.name} is no noun"


def participle_functions(tree: ast.AST) -> Iterator[str]:
    """Functions whose whole name is a participle; what is a state, or tells one, may be."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and is_participle(node.name.strip("_")):
            marks = {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}
            tells = node.returns is not None and ast.unparse(node.returns) == "bool"
            if not marks & STATES and not tells:
                yield f"line {node.lineno}: {node.name} is no verb"


def harm_rule_lists(tree: ast.AST) -> Iterator[str]:
    """Tuples and lists that word harm rules: texts with the marks of two of them."""
    marks = ("never the subject of an alert", "single indicator", "report was filed is itself")
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List):
            said = " ".join(filter(None, map(_text, node.elts))).lower()
            if sum(mark in said for mark in marks) > 1:
                yield f"line {node.lineno}: a list of harm rules"


def worded_rules(text: str) -> int:
    """How many harm rules a text words, over its line ends too."""
    said = " ".join(text.split()).lower()
    return sum(mark in said for mark in RULES)


def _text(node: ast.AST) -> str:
    """A string as it is joined, `{}` for what an f-string fills in; empty for all else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "{}" for part in node.values)
    return ""


@cache
def text_of(path: Path) -> str:
    """The texts of a file: of Python its strings and docstrings, as they are joined."""
    if path.suffix != ".py":
        return path.read_text()
    return f"\n{APART}\n".join(filter(None, map(_text, ast.walk(_tree(path)))))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def found(phrase: str, path: Path) -> Iterator[str]:
    """Yield where a phrase stands, over line ends too; a part of a longer word is none."""
    words = r"\s+".join(map(re.escape, phrase.split()))
    pattern = re.compile(rf"(?<![\w-]){words}(?![\w-])", re.IGNORECASE)
    said = text_of(path)
    for match in pattern.finditer(said):
        yield f"{path}: ...{said[max(0, match.start() - 40) : match.end() + 20]}..."


@cache
def sources() -> tuple[Path, ...]:
    return tuple(
        path
        for part in PARTS
        for path in sorted((ROOT / part).rglob("*.py"))
        if "_pb2" not in path.name
    )


@cache
def read_by_people() -> tuple[Path, ...]:
    screens = (path for part in PARTS for path in (ROOT / part).rglob("*.*"))
    documents = (path for each in DOCUMENTS for path in ROOT.glob(each))
    return (
        *sources(),
        *(path for path in screens if path.suffix in SCREENS),
        *(path for path in documents if DECIDED not in path.as_posix()),
    )


def test_the_table_has_phrases() -> None:
    assert {"a yes", "says no", "an own", "dear"} <= set(PHRASES)


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_text_has_a_phrase_of_the_tables_left(phrase: str) -> None:
    assert not [hit for path in read_by_people() for hit in found(phrase, path)]


def test_no_class_is_named_by_a_participle() -> None:
    assert not {path: hits for path in sources() if (hits := list(participle_classes(_tree(path))))}


def test_fewer_functions_are_named_by_a_participle() -> None:
    """Whoever names one by a verb lowers the number."""
    count = sum(1 for path in sources() for _ in participle_functions(_tree(path)))
    assert count <= MOST_FUNCTIONS


def test_harm_rules_are_worded_once() -> None:
    lists = [path for path in sources() for _ in harm_rule_lists(_tree(path))]
    assert lists == [ROOT / "shared/harm_rules.py"]


def test_no_text_words_a_second_list_of_harm_rules() -> None:
    """Screens, pages, settings, studies and documents show those of `shared/harm_rules.py`."""
    studies = tuple((ROOT / "studies").glob("*.toml"))
    lists = [path for path in (*read_by_people(), *studies) if worded_rules(text_of(path)) > 1]
    assert lists == [ROOT / "shared/harm_rules.py"]


def test_each_harm_rule_has_a_mark_and_a_second_list_is_found() -> None:
    assert [worded_rules(rule) for rule in HARM_RULES] == [1] * len(RULES)
    assert [rule for rule, mark in zip(HARM_RULES, RULES, strict=True) if mark in rule.lower()] == [
        *HARM_RULES
    ]
    assert (
        worded_rules("<li>No single indicator\n suffices.</li><li>The software ranks; people") == 2
    )


@pytest.mark.parametrize(
    ("look", "planted"),
    [
        (participle_classes, "class StudyTold: ..."),
        (participle_classes, "class _Kept: ..."),
        (participle_functions, "def _said() -> str: ..."),
        (harm_rule_lists, 'x = ("No single indicator", "is never the subject of an alert")'),
    ],
)
def test_what_is_planted_is_found(look: Callable[[ast.AST], Iterator[str]], planted: str) -> None:
    assert list(look(ast.parse(planted)))


@pytest.mark.parametrize(
    "sound", ["class SupportNeed: ...", "def closed() -> bool: ...", "def told_lines(): ..."]
)
def test_nouns_and_states_are_let_be(sound: str) -> None:
    tree = ast.parse(sound)
    assert not [*participle_classes(tree), *participle_functions(tree)]


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("a.py", '"""Say what a\n    no makes of it."""'),
        ("b.py", 'print(f"{1} expected a " f"no, found {2}")'),
        ("c.md", "Nothing happens without a  No."),
    ],
)
def test_a_planted_phrase_is_found(tmp_path: Path, name: str, planted: str) -> None:
    path = tmp_path / name
    path.write_text(planted)
    assert list(found("a no", path))
    assert not list(found("a nod", path))
    assert not list(found("no n", path))
