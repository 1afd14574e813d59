"""Pages that people read: one self-contained file each, without scripts or outside resources.

words.py        numbers and strangers' names as they are written
charts.py       each feature's shape, and where panels.html draws it; without matplotlib
figures.py      figures by matplotlib, for reports of simulations and pictures of answers
templates.py    what every page is filled in with
page.css        the look of them all

Templates of pages: everything that is filled in is escaped, and nothing may be missing.
Templates of sentences are plain text: a page escapes them, a terminal shows them.
"""

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final

import jinja2

from fieldfare.shared.pages import words
from fieldfare.shared.terminal.texts import short

# -- templates ------------------------------------------------------------------------------------

PARTS: Final = (
    "page.css",
    "page_head.html",
    "panels.html",
    "answer_tables.html",
    "groups.html",
    "card_sections.html",
    "join_sections.html",
    "join_part.html",
)  # what every page may include

FILTERS: Final = (words.decimals, words.signed, short, words.percent)  # that write numbers


def page_template(template: Traversable) -> jinja2.Template:
    """Return a page's template; it may include the shared parts."""
    folder = resources.files("fieldfare.shared.pages")
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in PARTS}
    texts[template.name] = template.read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({one.__name__: one for one in FILTERS})
    return environment.get_template(template.name)


class AbsentFigure(jinja2.ChainableUndefined):
    """What results do not have: a template may ask for it, and cannot write it."""

    def __str__(self) -> str:
        """Refuse: a sentence with a gap is not written."""
        raise jinja2.UndefinedError(f"{self._undefined_name}: expected a figure, found none")


def sentence_macros(template: Traversable, **known: Any) -> Any:
    """Return the macros of a template of sentences, for `sentence`.

    Args:
        template: a macro for each sentence.
        known: functions and constants that it may use, beside those that write numbers.
    """
    environment = jinja2.Environment(
        undefined=AbsentFigure,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 -- plain text; the page escapes what it draws
    )
    numbers = (words.best_guess, words.odds_factor, words.one_in)
    known |= {one.__name__: one for one in (*numbers, *FILTERS)}
    environment.filters.update(known)
    environment.globals.update(known)
    environment.tests["missing"] = lambda one: one is None or isinstance(one, AbsentFigure)
    return environment.from_string(template.read_text(encoding="utf-8")).module


def sentence(macros: Any, name: str, results: Any) -> str:
    """Return a sentence about results; empty where its figures are absent.

    Raises:
        jinja2.UndefinedError: one of its figures is absent where the sentence needs it.
    """
    return " ".join(str(getattr(macros, name)(results)).split())
