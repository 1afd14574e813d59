"""The words of a pack: no number typed by hand, and every proof is a file that exists."""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from fieldfare.shared.errors import StudyError
from fieldfare.shared.evidence import document
from fieldfare.shared.evidence.document import PARTS, law_names, laws, texts, written
from fieldfare.shared.evidence.facts import EvidenceFacts
from fieldfare.shared.evidence.study_values import MOST_FEATURES
from fieldfare.shared.evidence.values import values_of
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import load_study

ROOT: Final = Path(__file__).parents[3]
ROOM: Final = ROOT / "shared" / "evidence"
NAMES: Final = re.compile(
    r"SHA-256|mu\^2|X25519|ML-KEM-768|Ed25519|1 in "
)  # of things, and no figures
SPELLED: Final = re.compile(
    r"\b(three|four|five|six|seven|eight|nine|ten|half|third|quarter|tenth|hundred|thousand|million)\b"
)
DOCUMENTED: Final = (ast.Module, ast.ClassDef, ast.FunctionDef)
NUMBER: Final = re.compile(r"\d[\d.,:e-]*")
QUESTIONS: Final = 23


def strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts of a file with the key each stands under."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from strings(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one, name)


def typed(text: str) -> bool:
    """Tell whether a text holds a number: in words anywhere, in what is filled in as a literal."""
    inside = " ".join(re.findall(r"\{[{%].*?[%}]\}", text, re.DOTALL))
    outside = re.sub(r"\{[{%].*?[%}]\}", "", NAMES.sub("", text), flags=re.DOTALL)
    return bool(re.search(r"\d", outside) or re.search(r"(?<!\w)\d", inside))


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.toml")), ids=lambda path: path.stem)
def test_no_number_is_typed_by_hand(path: Path) -> None:
    if path.stem == "law":
        return  # the one place for articles and dates
    told = tomllib.loads(path.read_text("utf-8"))
    found = [
        (name, text)
        for name, text in strings(told)
        if name not in {"proof", "readers"} and typed(text)
    ]
    assert found == []


def test_a_typed_number_is_seen() -> None:
    assert typed("SHA-256 of 5 files")
    assert typed("{{ 5 * one }}")
    assert not typed("SHA-256, mu^2, {{ loss.mu2 }}")


def literals(path: Path) -> Iterator[str]:
    """Yield the texts of a module as they stand there: no docstrings, no forms of numbers."""
    tree = ast.parse(path.read_text("utf-8"))
    parts = [one for one in ast.walk(tree) if isinstance(one, DOCUMENTED) and one.body]
    left = {id(one.body[0].value) for one in parts if isinstance(one.body[0], ast.Expr)}
    forms = [one.format_spec for one in ast.walk(tree) if isinstance(one, ast.FormattedValue)]
    left |= {id(inner) for one in forms if one for inner in ast.walk(one)}
    for one in ast.walk(tree):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in left:
            yield one.value


def sentence_with_number(text: str) -> bool:
    """Tell whether a text for people holds a figure, in digits or as a word."""
    said = NAMES.sub("", text)
    return " " in text and bool(re.search(r"\d", said.replace("L2", "")) or SPELLED.search(said))


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.py")), ids=lambda path: path.stem)
def test_no_sentence_of_the_values_holds_a_typed_number(path: Path) -> None:
    assert [text for text in literals(path) if sentence_with_number(text)] == []


def test_a_number_in_a_sentence_is_seen(tmp_path: Path) -> None:
    for one in ('f"{least} people, to within a tenth."', '"of 40 customers"', 'f"ten times {x}"'):
        path = tmp_path / "said.py"
        path.write_text(f"said = {one}\n")
        assert any(sentence_with_number(text) for text in literals(path)), one


def test_the_page_has_none_either() -> None:
    text = (ROOM / "evidence.html").read_text("utf-8")
    body = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    shown = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", " ", body, flags=re.DOTALL)
    assert re.findall(r"\d+", NAMES.sub("", shown)) == []


def other(value: Any) -> Any:
    """Copy facts with every number in them changed, in texts too."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float | int):
        return type(value)(value * 3 + 2)
    if isinstance(value, str):
        return re.sub(r"\d", lambda found: str((int(found[0]) + 3) % 10), value)
    if isinstance(value, dict):
        return {key: other(one) for key, one in value.items()}
    return [other(one) for one in value]


def pieces(name: str, values: dict[str, Any]) -> list[str]:
    part = written(name, values)
    found = [part.title, part.about]
    for block in part.blocks:
        found += [block.text, block.answer, block.left, *block.items, *block.columns]
        found += [cell for row in block.rows for cell in row]
    return [NAMES.sub("", one) for one in found]


@pytest.mark.parametrize("name", PARTS)
def test_another_run_changes_every_number(name: str, facts: EvidenceFacts) -> None:
    values = values_of(facts)
    pairs = zip(pieces(name, values), pieces(name, other(values)), strict=True)
    for one, two in pairs:
        numbers = zip(NUMBER.findall(one), NUMBER.findall(two), strict=False)
        assert [(a, b) for a, b in numbers if a == b] == [], (one, two)


def test_each_proof_is_a_file() -> None:
    named = {
        path for name in PARTS for block in texts(name)["block"] for path in block.get("proof", ())
    }
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_each_question_is_answered_with_a_proof_or_is_a_persons(facts: EvidenceFacts) -> None:
    part = written("questions", values_of(facts))
    questions = [one for one in part.blocks if one.kind == "question"]
    assert len(questions) == QUESTIONS
    assert [one.text for one in questions if not ((one.answer and one.proof) or one.whose)] == []
    assert sum(bool(one.answer) for one in questions) == QUESTIONS - 1
    assert all(one.left for one in questions if one.whose)


def test_laws_stand_in_one_file_with_source_and_date() -> None:
    assert laws()
    for key, said in laws().items():
        assert said["source"].startswith("https://"), key
        assert re.fullmatch(r"\d{4}-\d\d", said["read"]), key
        assert said["name"]
        assert said["about"]
    named = "|".join((r"\bArticle\b", "Annex", *map(re.escape, law_names().values())))
    for path in ROOM.glob("*"):
        if path.suffix in {".toml", ".html"} and path.stem != "law":
            assert not re.search(named, path.read_text("utf-8")), path


def test_no_guidance_is_cited_that_was_rescinded() -> None:
    """It cited SR 11-7 half a year after SR 26-2 had replaced it, on 17 April 2026."""
    rescinded = re.compile(r"SR 11-7|SR 21-8|OCC (Bulletin )?2011-12|FIL-22-2017")
    cited = [f"{said['name']} {said['source']}" for said in laws().values()]
    assert [one for one in cited if rescinded.search(one) or "sr1107" in one] == []


def test_a_missing_fact_is_an_error(facts: EvidenceFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    values = values_of(facts)
    told = {"title": "{{ nothing.here }}", "about": "", "readers": [], "block": []}
    monkeypatch.setattr(document, "texts", lambda _: told)
    with pytest.raises(StudyError, match="expected facts of the pack"):
        written("software", values)


def said(facts: EvidenceFacts) -> str:
    values = values_of(facts)
    return "\n".join(piece for name in PARTS for piece in pieces(name, values))


def test_a_pack_without_a_run_claims_nothing_of_one(facts: EvidenceFacts) -> None:
    """It said how many take part, that all signed the purpose, and that a run was recomputed."""
    unknown = replace(
        facts, report=None, verdict=None, run="", participants=(), spent=0, spent_by={},
        asked_by={}, releases_by={}, root="", transcript="",
    )  # fmt: skip
    text = said(unknown)
    assert "at least 3 institutions" in text
    assert "of 3 institutions" not in text
    assert "was recomputed from the transcript" not in text
    assert "all participants signed" not in text
    assert "reckoned for 3 institutions" in text


def test_a_study_that_only_asks_says_nothing_of_a_model(facts: EvidenceFacts) -> None:
    """It said that a model is exchanged, and that vectors are clipped in training."""
    plan = plan_for(load_study(ROOT / "studies" / "helplines.toml"))
    asked = replace(facts, plan=plan, report=None, verdict=None, spent_by={}, asked_by={})
    values = values_of(asked)
    (answer,) = (
        one.answer for one in written("questions", values).blocks if "by force" in one.text
    )
    assert "training" not in answer
    rows = [row for one in written("sharing", values).blocks for row in one.rows]
    (exchanged,) = (row[1] for row in rows if row[0] == "What is exchanged")
    assert "a model" not in exchanged
    assert "answers to declared questions" in exchanged


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "helplines",
            "1 feature and 1 further column of records about units, and the column label",
        ),
        ("sms", "column text, as text of records about messages, and the column label"),
        ("heart-local", "for all but the steps of training, whose replies each carry all"),
    ],
)
def test_each_kind_of_study_is_described_as_it_is(
    facts: EvidenceFacts, name: str, words: str
) -> None:
    """A study of texts was said to read no feature and no column."""
    plan = plan_for(load_study(ROOT / "studies" / f"{name}.toml"))
    asked = replace(facts, plan=plan, report=None, verdict=None, spent_by={}, asked_by={})
    assert words in said(asked)


def test_probabilities_are_said_with_their_delta(facts: EvidenceFacts) -> None:
    """The first question promised a factor without the probability for which it does not hold."""
    for piece in said(facts).split("\n"):
        if "times as probable" in piece or "by a factor of at most" in piece:
            assert "but for a probability of" in piece


def test_a_long_study_says_how_many_features_are_left_out(facts: EvidenceFacts) -> None:
    study = facts.plan.study
    one = study.features[0]
    many = tuple(one.model_copy(update={"name": f"f{at}"}) for at in range(MOST_FEATURES + 7))
    longer = replace(facts.plan, study=study.model_copy(update={"features": many}))
    text = said(replace(facts, plan=longer))
    assert "And 7 features more" in text
