"""Finished models: which arrived with what evidence, one model's card, and "Should we join?".

Cards are about models and say nothing of a customer, so whoever works on alerts may read them: for
what a model is weak belongs beside what it points at. Figures from own records are for who operates
and who examines. Nothing is computed here; no record is opened.
"""

import shlex
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

from starlette.responses import Response

from fieldfare.client.oversight.arrived_models import (
    ArrivedModel,
    arrived_models,
    joining_on_desk,
    model_on_desk,
)
from fieldfare.shared.console.frame import Page, Refused, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.joining.words import TITLE
from fieldfare.shared.terminal.texts import SHORT, plain

MODELS: Final = "/models"
NEW_PAGE: Final = "should-we-join.html"
Desk = TypeVar("Desk")


def models_pages(home: Path) -> tuple[Page, ...]:
    """Return the pages about the models of a home."""
    one = f"{MODELS}/{{study}}/{{run}}"
    return (
        Page(MODELS, Right.SEE_MODELS, lambda visit: _models(visit, home)),
        Page(one, Right.SEE_MODELS, lambda visit: _model(visit, home)),
        Page(f"{one}/joining", Right.WATCH, lambda visit: _joining(visit, home)),
    )


def _models(visit: Visit, home: Path) -> Response:
    problem = ""
    found: tuple[ArrivedModel, ...] = ()
    try:
        found = arrived_models(home)
    except FieldfareError as error:
        problem = str(error)
    watches = Right.WATCH in visit.rights
    return visit.page(
        "models.html", models=found, problem=problem, watches=watches, plain=plain, short=_short
    )


def _model(visit: Visit, home: Path) -> Response:
    found = _found(model_on_desk, visit, home)
    watches = Right.WATCH in visit.rights
    return visit.page("model.html", desk=found, watches=watches, plain=plain, short=_short)


def _joining(visit: Visit, home: Path) -> Response:
    found = _found(joining_on_desk, visit, home)
    asked = ("--model", found.model.run, "--page", NEW_PAGE, "--home", str(home.absolute()))
    command = shlex.join(("fieldfare", "institution", "evaluate", *asked))
    return visit.page("joining.html", title=TITLE, desk=found, command=command, plain=plain)


def _found(look: Callable[[Path, str, str], Desk | None], visit: Visit, home: Path) -> Desk:
    try:
        found = look(home, visit.places["study"], visit.places["run"])
    except FieldfareError as error:  # of a home that is not whole, what it lacks
        raise Refused(HTTPStatus.CONFLICT, str(error)) from None
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "There is no such model.")
    return found


def _short(study: str) -> str:
    return study[:SHORT]
