"""The words of a pack: parts that are read from TOML and filled in with facts; no other place.

A part is a list of blocks. What is filled in comes from the facts, and so does every number: the
texts hold none, but for names such as SHA-256 (a test looks). `law.toml` alone names articles and
dates of law, each with its source, the day it was read, and who has to confirm it.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import jinja2

from fieldfare.shared.errors import StudyError
from fieldfare.shared.pages import words
from fieldfare.shared.terminal.texts import short

PARTS: Final = (
    "privacy_loss",
    "questions",
    "assessment",
    "sharing",
    "model",
    "ai_act",
    "registry",
    "risk_framework",
    "software",
)  # in the order of the pack
CONFIRM: Final = "to be confirmed by counsel"


@dataclass(frozen=True)
class EvidenceBlock:
    """One piece of a part.

    Attributes:
        kind: "text", "list", "facts", "table", "warning", "question", "person" or "heading".
        text: of a text, a warning, a heading; a question; what a person has to write.
        answer: to a question.
        items: of a list.
        columns, rows: of a table; of facts the rows are name and value.
        numbers: columns that hold numbers.
        proof: files and tests that show it, from the repository's root.
        whose: who has to fill it, or a rest of it, where that is a person.
        left: the rest that is a person's, of a question.
    """

    kind: str
    text: str = ""
    answer: str = ""
    items: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    numbers: tuple[str, ...] = ()
    proof: tuple[str, ...] = ()
    whose: str = ""
    left: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True)
class EvidencePart:
    """One part of a pack.

    Attributes:
        name: as in addresses.
        number: from 1.
        title, about: for people.
        readers: who looks for it.
        blocks: in order.
    """

    name: str
    number: int
    title: str
    about: str
    readers: tuple[str, ...]
    blocks: tuple[EvidenceBlock, ...]

    @property
    def persons(self) -> tuple[str, ...]:
        """Who has to fill something in, each once."""
        return tuple(dict.fromkeys(one.whose for one in self.blocks if one.whose))

    @property
    def filled(self) -> int:
        """How many blocks are filled from facts, also where a rest is a person's."""
        return sum(one.kind not in {"heading", "person"} and _says(one) for one in self.blocks)

    @property
    def open(self) -> int:
        """How many blocks wait for a person."""
        return sum(bool(one.whose) for one in self.blocks)

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "name": self.name,
            "number": self.number,
            "title": self.title,
            "about": self.about,
            "readers": list(self.readers),
            "blocks": [one.as_dict() for one in self.blocks],
        }


def _says(block: EvidenceBlock) -> bool:
    """Tell whether the software said something: a question may be a person's alone."""
    return bool(block.answer) if block.kind == "question" else True


@cache
def _words() -> jinja2.Environment:
    made = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 -- plain text; the page escapes what it draws
    )
    filters = (words.number, short, words.percent, words.one_in, words.odds_factor)
    made.filters.update({one.__name__: one for one in filters})
    made.filters["guess"] = words.best_guess
    return made


@cache
def texts(name: str) -> dict[str, Any]:
    """Return the texts of a part, or of the law, as they stand in their file."""
    path = resources.files("fieldfare.shared.evidence") / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def laws() -> dict[str, dict[str, str]]:
    """Return what is said of each law: `name`, `about`, `source`, `read`, by its key."""
    return {key: dict(said) for key, said in texts("law").items()}


def law_names() -> dict[str, str]:
    """Return the name of each law as texts call it."""
    return {key: said["name"] for key, said in laws().items()}


def written(name: str, facts: Mapping[str, Any]) -> EvidencePart:
    """Write one part.

    Args:
        name: one of `PARTS`.
        facts: everything that its texts may fill in (`values_of`).

    Raises:
        StudyError: a text asks for something that the facts do not hold.
    """
    told = texts(name)
    try:
        blocks = tuple(_blocks(told["block"], facts))
        return EvidencePart(
            name=name,
            number=PARTS.index(name) + 1,
            title=_filled(told["title"], facts),
            about=_filled(told["about"], facts),
            readers=tuple(told["readers"]),
            blocks=blocks,
        )
    except jinja2.UndefinedError as error:
        raise StudyError(f"{name}.toml: expected facts of the pack, found {error}") from None


def _blocks(told: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> Iterator[EvidenceBlock]:
    for one in told:
        if "when" not in one or _holds(one["when"], facts):
            yield _block(one, facts)


def _holds(condition: str, facts: Mapping[str, Any]) -> bool:
    return bool(_words().compile_expression(condition, undefined_to_none=False)(**facts))


def _block(told: Mapping[str, Any], facts: Mapping[str, Any]) -> EvidenceBlock:
    return EvidenceBlock(
        kind=told["kind"],
        text=_filled(told.get("text", ""), facts),
        answer=_filled(told.get("answer", ""), facts),
        items=tuple(_items(told, facts)),
        columns=tuple(_filled(one, facts) for one in told.get("columns", ())),
        rows=tuple(_rows(told, facts)),
        numbers=tuple(told.get("numbers", ())),
        proof=tuple(told.get("proof", ())),
        whose=told.get("whose", ""),
        left=_filled(told.get("left", ""), facts),
    )


def _items(told: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the items that stand in the file, or one for each of a list of facts."""
    if "each" in told:
        for one in _found(told["each"], facts):
            yield _filled(told["item"], {**facts, "one": one})
        return
    yield from (text for one in told.get("items", ()) if (text := _filled(one, facts)))


def _rows(told: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows that stand in the file, or one for each of a list of facts."""
    if "rows_of" in told:
        for one in _found(told["rows_of"], facts):
            yield tuple(_filled(cell, {**facts, "row": one}) for cell in told["cells"])
        return
    for row in told.get("rows", ()):
        cells = tuple(_filled(cell, facts) for cell in row)
        if cells[-1]:  # a row whose value is nothing is not shown
            yield cells


def _found(name: str, facts: Mapping[str, Any]) -> Iterable[Any]:
    found: Any = _words().compile_expression(name, undefined_to_none=False)(**facts)
    return tuple(found)


def _filled(text: str, facts: Mapping[str, Any]) -> str:
    return " ".join(_compiled(text).render(**facts).split())


@cache
def _compiled(text: str) -> jinja2.Template:
    return _words().from_string(text)
