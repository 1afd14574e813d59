"""FINTRAC's suspicious transaction report as JSON: its sections in order, for a person to finish.

The sections and fields are those of the report form's description (Annex A of FINTRAC's
guidance); the names are ours. Whoever files copies them into FINTRAC's own form or interface.
"""

import json
from datetime import timedelta, timezone
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.client.alerts.reports.facts import OPEN, Movement, ReportFacts, party_words
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.toml import problem_lines

TYPE: Final = "fieldfare.fintrac-str-draft.v1"
PARTNERSHIP: Final = "Project Protect"
_Text = Annotated[str, Field(min_length=1, max_length=20_000)]
_Day = Annotated[str, Field(pattern=rf"^(\d{{4}}-\d\d-\d\d|{OPEN})$")]
_Time = Annotated[str, Field(pattern=rf"^(\d\d:\d\d:\d\d[+-]\d\d:\d\d|{OPEN})$")]
_Amount = Annotated[str, Field(pattern=rf"^(\d{{1,15}}(\.\d{{1,4}})?|{OPEN})$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class General(_Part):
    """The reporting entity."""

    reporting_entity_number: _Text
    reporting_entity_reference: _Text
    contact: _Text


class ReportedPerson(_Part):
    """The person whose activity is reported.

    Attributes:
        suspected, protected: never both: a possible victim is no subject.
    """

    name: _Text
    role: _Text
    suspected: bool
    protected: bool
    words: _Text


class StartingAction(_Part):
    """How funds came."""

    direction: _Text
    funds_type: _Text
    amount: _Amount
    currency: _Text
    account: _Text
    source_of_funds: _Text
    conductor: _Text


class CompletingAction(_Part):
    """Where they went."""

    disposition: _Text
    amount: _Amount
    currency: _Text
    account: _Text
    beneficiary: _Text


class ReportedTransaction(_Part):
    """One transaction."""

    attempted: bool
    date: _Day
    time: _Time
    method: _Text
    purpose: _Text
    location: _Text
    starting_actions: Annotated[list[StartingAction], Field(min_length=1)]
    completing_actions: Annotated[list[CompletingAction], Field(min_length=1)]


class Suspicion(_Part):
    """Why."""

    narrative: _Text
    suspicion_type: _Text
    public_private_partnership: _Text
    politically_exposed: _Text
    related_reports: list[_Text]


class StrDraft(_Part):
    """The whole report, in the form's order."""

    type: Literal["fieldfare.fintrac-str-draft.v1"] = TYPE
    general_information: General
    transactions: Annotated[list[ReportedTransaction], Field(min_length=1)]
    parties: Annotated[list[ReportedPerson], Field(min_length=1)]
    details_of_suspicion: Suspicion
    action_taken: _Text


def _open(part: type[_Part], **known: Any) -> dict[str, Any]:
    return {name: known.get(name, OPEN) for name in part.model_fields}


def fintrac_draft(facts: ReportFacts) -> bytes:
    """Return a draft as UTF-8 JSON."""
    transactions = [_write_movement(movement) for movement in facts.movements] or [_unknown()]
    party = _open(
        ReportedPerson, role=facts.role.value, suspected=facts.suspected, protected=facts.protected,
        words=party_words(facts.role),
    )  # fmt: skip
    suspicion = _open(
        Suspicion,
        narrative=facts.narrative,
        public_private_partnership=PARTNERSHIP,
        related_reports=[],
    )
    draft = StrDraft.model_validate(
        {
            "general_information": _open(General, reporting_entity_reference=facts.reference),
            "transactions": transactions,
            "parties": [party],
            "details_of_suspicion": suspicion,
            "action_taken": OPEN,
        }
    )
    return (json.dumps(draft.model_dump(), indent=2, ensure_ascii=False) + "\n").encode()


def _unknown() -> dict[str, Any]:
    return _open(
        ReportedTransaction,
        attempted=False,
        starting_actions=[_open(StartingAction)],
        completing_actions=[_open(CompletingAction)],
    )


def _write_movement(movement: Movement) -> dict[str, Any]:
    """Write what the records say of one entry; a person says how, what for and to whom."""
    out, local = movement.out, movement.local
    known = {"amount": movement.amount, "currency": movement.currency}
    own, other = {**known, "account": movement.account}, known
    time: dict[str, str] = {}
    if movement.offset is not None:
        zoned = local.replace(tzinfo=timezone(timedelta(minutes=movement.offset)))
        time = {"time": zoned.timetz().isoformat(timespec="seconds")}
    return _open(
        ReportedTransaction, attempted=movement.attempted, date=local.date().isoformat(), **time,
        **({"location": movement.place} if movement.place else {}),
        starting_actions=[
            _open(StartingAction, direction="out" if out else "in", **(own if out else other))
        ],
        completing_actions=[_open(CompletingAction, **(other if out else own))],
    )  # fmt: skip


def fintrac_problems(content: bytes) -> list[str]:
    """Return the gaps of an unfinished report, one line each; none where it is finished.

    Raises:
        UsageError: it is no JSON.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise UsageError("expected a report in JSON, found something else") from None
    try:
        draft = StrDraft.model_validate(data)
    except ValidationError as error:
        # What was found is left out: it may be about a person.
        return [
            f"{line.partition(':')[0]}: expected a value as in the draft"
            for line in problem_lines(error)
        ]
    problems = [f"{path}: {OPEN}" for path, text in _texts(data, "") if OPEN in text]
    problems += [
        f"parties.{place}: a protected person as a subject; a possible victim is never one"
        for place, party in enumerate(draft.parties)
        if party.protected and party.suspected
    ]
    return problems


def _texts(data: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(data, str):
        return [(path, data)]
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(
        data, list
    ) else ()  # fmt: skip
    return [found for key, value in items for found in _texts(value, f"{path}.{key}".lstrip("."))]
