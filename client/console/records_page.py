"""The records' health for who operates and who examines: columns, coverage, drift; no value."""

from typing import Final

from starlette.responses import Response

from fieldfare.client.console.place import AskDesk
from fieldfare.client.desk.model_calls import RECORDS as ASK_RECORDS
from fieldfare.client.desk.model_calls import StudyRecordsView
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.desk.calls import Nothing
from fieldfare.shared.errors import FieldfareError, RunError
from fieldfare.shared.terminal.texts import SHORT, plain

RECORDS: Final = "/records"


def records_pages(desk: AskDesk) -> tuple[Page, ...]:
    """Return the page about the records that a desk tells of."""
    return (Page(RECORDS, Right.WATCH, lambda visit: _records(visit, desk)),)


def _records(visit: Visit, desk: AskDesk) -> Response:
    problem = ""
    found: list[StudyRecordsView] = []
    try:
        found = desk().ask(ASK_RECORDS, Nothing()).studies
    except RunError:
        raise
    except FieldfareError as error:
        problem = str(error)
    return visit.page(
        "records.html", studies=found, problem=problem, plain=plain, short=lambda one: one[:SHORT]
    )
