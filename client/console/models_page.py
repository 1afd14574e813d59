"""Finished models: which arrived with what evidence, one model's card, and "Should we join?".

Cards are about models and say nothing of a customer, so whoever works on alerts may read them: for
what a model is weak belongs beside what it points at. Figures from own records are for who operates
and who examines. The desk draws both; no record is opened.
"""

import shlex
from http import HTTPStatus
from typing import Final

from markupsafe import Markup
from starlette.responses import Response

from fieldfare.client.console.place import AskDesk
from fieldfare.client.desk.model_calls import JOINING, MODEL, MaybeModel, ModelPart, ModelQuestion
from fieldfare.client.desk.model_calls import MODELS as ASK_MODELS
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.desk.calls import DeskCall, Nothing
from fieldfare.shared.errors import FieldfareError, RunError
from fieldfare.shared.joining import TITLE
from fieldfare.shared.terminal.texts import SHORT, plain

MODELS: Final = "/models"
NEW_PAGE: Final = "should-we-join.html"
_MOST_ID: Final = 200


def models_pages(desk: AskDesk) -> tuple[Page, ...]:
    """Return the pages about the models that a desk tells of."""
    one = f"{MODELS}/{{study}}/{{run}}"
    return (
        Page(MODELS, Right.SEE_MODELS, lambda visit: _models(visit, desk)),
        Page(one, Right.SEE_MODELS, lambda visit: _model(visit, desk)),
        Page(f"{one}/joining", Right.WATCH, lambda visit: _joining(visit, desk)),
    )


def _models(visit: Visit, desk: AskDesk) -> Response:
    problem, found = "", []
    try:
        found = desk().ask(ASK_MODELS, Nothing()).models
    except RunError:
        raise
    except FieldfareError as error:
        problem = str(error)
    watches = Right.WATCH in visit.rights
    return visit.page(
        "models.html", models=found, problem=problem, watches=watches, plain=plain, short=_short
    )


def _model(visit: Visit, desk: AskDesk) -> Response:
    found, watches = _find_part(MODEL, visit, desk), Right.WATCH in visit.rights
    card = _mark_drawn(found)
    return visit.page(
        "model.html", desk=found, card=card, watches=watches, plain=plain, short=_short
    )


def _joining(visit: Visit, desk: AskDesk) -> Response:
    found = _find_part(JOINING, visit, desk)
    asked = ("--model", found.model.run, "--page", NEW_PAGE, "--home", found.home)
    command = shlex.join(("fieldfare", "institution", "evaluate", *asked))
    return visit.page(
        "joining.html",
        title=TITLE,
        desk=found,
        answer=_mark_drawn(found),
        command=command,
        plain=plain,
    )


def _find_part(call: DeskCall[ModelQuestion, MaybeModel], visit: Visit, desk: AskDesk) -> ModelPart:
    study, run = visit.places["study"][:_MOST_ID], visit.places["run"][:_MOST_ID]
    try:
        found = desk().ask(call, ModelQuestion(study=study, run=run)).found
    except RunError:
        raise
    except FieldfareError as error:  # of a home that is not whole, what it lacks
        raise PageRefusal(HTTPStatus.CONFLICT, str(error)) from None
    if found is None:
        raise PageRefusal(HTTPStatus.NOT_FOUND, "There is no such model.")
    return found


def _mark_drawn(found: ModelPart) -> Markup:
    """Return a part of a page as the desk's side drew it, every text in it escaped there."""
    return Markup(found.drawn)  # noqa: S704 -- by templates that escape (shared/pages)


def _short(study: str) -> str:
    return study[:SHORT]
