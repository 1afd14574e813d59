"""results.json in plain words: `sentences.jinja` has a macro for each sentence.

The terminal screen and the page share the sentences, so they cannot disagree.
Words are plain ASCII (names excepted): a terminal may have nothing else.
"""

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from fieldfare.shared.evaluation.groups import Interval, group_lines, times_verdict
from fieldfare.shared.pages import templates
from fieldfare.shared.terminal.texts import cut
from fieldfare.simulations.report import figures
from fieldfare.simulations.report.figures import Results

ROOM: Final = resources.files("fieldfare.simulations.report")
FIRST: Final = ("own_verdict", "promise", "in_vain")
"""Sentences of the first screen: of the terminal, the report and the console of a home."""

LONGEST_NAME: Final = 32
"""Letters of a name within a sentence."""


class ModelWords(NamedTuple):
    """The name and the description of a model of the comparison."""

    name: str
    meaning: str


MODELS: Final[Mapping[str, ModelWords]] = {
    key: ModelWords(**said)
    for key, said in tomllib.loads((ROOM / "models.toml").read_text(encoding="utf-8")).items()
}


def sentence(results: Results, name: str) -> str:
    """Return a sentence of `sentences.jinja`; empty where its figures are absent.

    Raises:
        jinja2.UndefinedError: one of its figures is absent where the sentence needs it.
    """
    return templates.sentence(_macros(), name, results)


def sentences(results: Results, *names: str) -> list[str]:
    """Return several sentences, each once, without those whose figures are absent."""
    return list(dict.fromkeys(filter(None, (sentence(results, name) for name in names))))


@cache
def _macros() -> Any:
    known = {name: one for name, one in vars(figures).items() if not name.startswith("_")}
    mine = {"name": _cut_name, "rounded_up": _round_up, "verdict": _write_verdict}
    more = {"group_lines": group_lines, "spoken": spoken}
    return templates.sentence_macros(ROOM / "sentences.jinja", **known, **mine, **more)


def conclusion(results: Results) -> list[str]:
    """The meaning of the numbers, sentence by sentence; the first one is the answer."""
    models = ("figures", "same_privacy", "pooled", "better_alone")
    return sentences(results, "own_verdict", "answer", *models)


def world(results: Results) -> list[str]:
    """Describe the invented world and the cost of real prevalence; empty without one."""
    if not results.get("world"):
        return []
    return sentences(results, "made", "knew", "learned_on", "at_two", "rarer")


def privacy(results: Results) -> list[str]:
    """The promise in words: epsilon, the best attacker, the rest if the masks fail."""
    return sentences(results, "odds", "attacker", "bare")


def spoken(name: str) -> str:
    """Return a group's name as one says it: `night_shift_worker` is a night shift worker."""
    return name.replace("_", " ")


def _cut_name(name: str) -> str:
    return cut(name, LONGEST_NAME)


def _round_up(epsilon: float) -> float:
    """Return an epsilon that a promise keeps to, with two decimals."""
    return math.ceil(100 * epsilon) / 100


def _write_verdict(times: Mapping[str, float]) -> str:
    return times_verdict(Interval(times["value"], times["low"], times["high"])).value
