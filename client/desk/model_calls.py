"""What a desk is asked of finished models and of the records' health, and both ends' words."""

from typing import Annotated, Final

from pydantic import Field

from fieldfare.shared.desk.calls import DeskCall, DeskTerm, Nothing

_Id = Annotated[str, Field(max_length=200)]


class ModelView(DeskTerm):
    """A model that arrived, and the evidence for it.

    Attributes:
        name, finished: as its card says; empty where the card must not be read.
        words: how far it was verified, for people.
        trusted: whether it is more than the coordinator's word.
        compared: the day of the last answer to "Should we join?"; empty: there is none.
    """

    study: str
    run: str
    name: str
    finished: str
    words: str
    trusted: bool
    compared: str


class ModelList(DeskTerm):
    """All that arrived, the newest first."""

    models: list[ModelView]


class ModelQuestion(DeskTerm):
    """One model, by study and run as they stand in an address."""

    study: _Id
    run: _Id


class ModelPart(DeskTerm):
    """One model, and a part of a page about it, drawn and escaped; empty: there is none.

    Attributes:
        problem: why a card is not shown; may be empty.
        home: where commands are typed.
    """

    model: ModelView
    drawn: str
    problem: str
    home: str


class MaybeModel(DeskTerm):
    """A model, if there is one."""

    found: ModelPart | None


class ColumnView(DeskTerm):
    """A column of records as people may see it: no value, and no number of few rows.

    Attributes:
        missing, undeclared: share of rows without a value, or with a level that nobody declared.
        missing_before: the same of the last time; empty: there is none.
        index, word: how far it moved since the last time; empty: nothing to compare with.
        first_index, first_word: since it was first seen.
        odd: whether a person should look.
    """

    name: str
    kind: str
    missing: str
    undeclared: str
    missing_before: str
    index: str
    word: str
    first_index: str
    first_word: str
    odd: bool


class StudyRecordsView(DeskTerm):
    """The records under one study; days of now, the time before and the first time."""

    study: str
    name: str
    now: str
    before: str
    first: str
    rows: str
    rows_before: str
    zero: str
    columns: list[ColumnView]


class RecordsView(DeskTerm):
    """The records under every study with which they were looked at, the newest first."""

    studies: list[StudyRecordsView]


MODELS: Final = DeskCall("models", Nothing, ModelList)
MODEL: Final = DeskCall("model", ModelQuestion, MaybeModel)
JOINING: Final = DeskCall("joining", ModelQuestion, MaybeModel)
RECORDS: Final = DeskCall("records", Nothing, RecordsView)
