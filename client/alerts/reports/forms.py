"""A draft of a report as the fields of a form: what each holds, which are missing, what may not be.

A person fills them in; nothing is ever sent. Who is suspected and who is protected is no field: it
follows from the role that a person gave the party, so a possible victim cannot become a subject
here (harm rule 1).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from lxml import etree

from fieldfare.client.alerts.reports.facts import OPEN, ReportFacts
from fieldfare.client.alerts.reports.fintrac import fintrac_draft, fintrac_problems
from fieldfare.client.alerts.reports.goaml import goaml_draft, goaml_problems
from fieldfare.shared.errors import UsageError

LOCAL: Final = "currency_code_local"
RATE: Final = "foreign_exchange_rate"
MOST_FIELD: Final = 20_000  # characters
_FIXED: Final = frozenset(
    {"is_suspected", "is_protected", "suspected", "protected", "role", "words"}
)
_STORED: Final = frozenset(
    {
        *("amount_local", "date_transaction", "currency_code", "foreign_currency_code"),
        *("foreign_amount", "amount", "currency", "date"),
    }
)
_FLAGS: Final = {"yes": True, "no": False}


class ReportFormat(StrEnum):
    """Whose form it is."""

    GOAML = "goaml"
    FINTRAC = "fintrac-json"


@dataclass(frozen=True)
class DraftField:
    """One field.

    Attributes:
        path: its place in the draft, unique there.
        label: the path in words.
        missing: whether a person still has to fill it in.
        fixed: whether it follows from people's decisions and is changed there.
        stored: whether it stands in the kept entries, and no person writes it.
    """

    path: str
    label: str
    value: str
    missing: bool
    fixed: bool
    stored: bool = False


@dataclass(frozen=True)
class DraftForm:
    """A draft to be completed.

    Attributes:
        problems: what the report still lacks or may not say, one line each; empty: complete, and
            in order as far as our subset goes.
    """

    kind: ReportFormat
    fields: tuple[DraftField, ...]
    problems: tuple[str, ...]

    @property
    def missing(self) -> int:
        """How many fields a person still has to fill in."""
        return sum(one.missing for one in self.fields)


_DRAFTS: Final[Mapping[ReportFormat, Callable[[ReportFacts], bytes]]] = {
    ReportFormat.GOAML: goaml_draft,
    ReportFormat.FINTRAC: fintrac_draft,
}
_CHECKS: Final[Mapping[ReportFormat, Callable[[bytes], list[str]]]] = {
    ReportFormat.GOAML: goaml_problems,
    ReportFormat.FINTRAC: fintrac_problems,
}


def draft_of(kind: ReportFormat, facts: ReportFacts) -> bytes:
    """Return a draft.

    Raises:
        UsageError: it would not be valid: a code that is none.
    """
    return _DRAFTS[kind](facts)


def problems_of(kind: ReportFormat, content: bytes) -> list[str]:
    """Return what a report lacks, one line each.

    Raises:
        UsageError: it is of another kind.
    """
    return _CHECKS[kind](content)


def form_of(kind: ReportFormat, content: bytes, *, stored: bool = False) -> DraftForm:
    """Return a draft as a form.

    Args:
        kind: of the draft.
        content: the draft.
        stored: whether its movements come from the kept entries.

    Raises:
        UsageError: it is of another kind.
    """
    problems, leaves = problems_of(kind, content), _leaves(kind, content)[1]
    kept = _find_stored(leaves) if stored else frozenset()
    fields = tuple(
        DraftField(path, _label(path), value, OPEN in value, _is_fixed(path), path in kept)
        for path, value, _ in leaves
    )
    return DraftForm(kind, fields, tuple(problems))


def complete_draft(
    kind: ReportFormat, content: bytes, answers: Mapping[str, str], *, stored: bool = False
) -> bytes:
    """Return a draft with a person's answers; fields without one stay as they are.

    Args:
        kind: of the draft.
        content: the draft.
        answers: by path.
        stored: whether its movements come from the kept entries, whose day and amount no answer is.

    Raises:
        UsageError: no such field, one that follows from decisions, or a text that is none.
    """
    whole, leaves = _leaves(kind, content)
    known = {path: put for path, _, put in leaves}
    kept = _find_stored(leaves) if stored else frozenset()
    for path, value in answers.items():
        if path not in known or _is_fixed(path) or path in kept:
            raise UsageError(
                "expected a field of this draft that a person fills in, found another one: who is "
                "suspected or protected follows from the party role of the decision, and days and "
                "amounts of chosen entries from the store"
            )
        text = value.strip()
        if len(text) > MOST_FIELD or any(not c.isprintable() and c not in "\n\t" for c in text):
            raise UsageError(
                f"{_label(path)}: expected up to {MOST_FIELD} printable characters, found others"
            )
        known[path](text or OPEN)
    if kind is ReportFormat.FINTRAC:
        return (json.dumps(whole, indent=2, ensure_ascii=False) + "\n").encode()
    found: bytes = etree.tostring(whole, encoding="UTF-8", xml_declaration=True)
    return found


Leaf = tuple[str, str, Callable[[str], None]]


def _leaves(kind: ReportFormat, content: bytes) -> tuple[Any, list[Leaf]]:
    if kind is ReportFormat.FINTRAC:
        data = json.loads(content)
        return data, list(_json_leaves(data, ""))
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    root = etree.fromstring(content, parser)
    return root, list(_xml_leaves(root, ""))


def _json_leaves(data: Any, path: str) -> Iterator[Leaf]:
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        below = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            yield from _json_leaves(value, below)
        elif isinstance(value, str):
            yield below, value, _setter(data, key)
        else:
            yield below, "yes" if value else "no", _flag_setter(data, key)


def _flag_setter(data: Any, key: str | int) -> Callable[[str], None]:
    def put(text: str) -> None:
        data[key] = _FLAGS.get(text.lower(), text)  # another text is a problem that the check names

    return put


def _setter(data: Any, key: str | int) -> Callable[[str], None]:
    def put(text: str) -> None:
        data[key] = text

    return put


def _xml_leaves(element: Any, path: str) -> Iterator[Leaf]:
    counts: dict[str, int] = {}
    for child in element.iterchildren(etree.Element):
        at = counts[child.tag] = counts.get(child.tag, -1) + 1
        below = f"{path}.{child.tag}{f'.{at}' if at else ''}".lstrip(".")
        if len(child):
            yield from _xml_leaves(child, below)
        elif child.text is not None:
            yield below, child.text, _text_setter(child)


def _text_setter(element: Any) -> Callable[[str], None]:
    def put(text: str) -> None:
        element.text = text

    return put


def _is_fixed(path: str) -> bool:
    name = path.rpartition(".")[2]
    return path == "type" or name in _FIXED or name.endswith("_is_suspected")


def _find_stored(leaves: Sequence[Leaf]) -> frozenset[str]:
    """Return what stands in the kept entries; of a foreign amount a person says the local one."""
    paths = [path for path, *_ in leaves if path.startswith("transaction")]
    foreign = {_movement(path) for path in paths if path.endswith(f".{RATE}")}
    return frozenset(
        path
        for path in paths
        if path.rpartition(".")[2] in _STORED
        and not (path.endswith(".amount_local") and _movement(path) in foreign)
    )


def _movement(path: str) -> str:
    """Return the part of a field's path that its movement's fields share."""
    tag, _, rest = path.partition(".")
    place = rest.partition(".")[0]
    return f"{tag}.{place}" if place.isdigit() else tag


def local_answers(content: bytes, answers: Mapping[str, str]) -> dict[str, str]:
    """Return answers to a goAML draft without those to amounts that are foreign no more.

    A form says them where its report had another currency; what a person then said of the local
    amount is the store's again.
    """
    present = {path for path, *_ in _leaves(ReportFormat.GOAML, content)[1]}
    gone = {_movement(one) for one in answers if one.endswith(f".{RATE}") and one not in present}
    return {
        path: value
        for path, value in answers.items()
        if _movement(path) not in gone or not path.endswith((".amount_local", f".{RATE}"))
    }


def _label(path: str) -> str:
    words = [one for one in path.split(".") if one not in {"report", "activity"}]
    shown = (str(int(one) + 1) if one.isdigit() else one.replace("_", " ") for one in words)
    return ", ".join(shown)
