"""The report at the end of `fieldfare simulate`: one terminal screen and one HTML page.

report/curves.py    what the page is given besides results.json and shapes
curves.py    ROC, precision-recall, calibration and their uncertainty (pure numpy)
figures.py   what sentences and pictures need beside results.json (pure)
words.py     results.json in plain words (sentences.jinja); the screen and the page share them
pictures.py  bars, curves and calibration as inline SVG
page.py      the page: report.html, filled in
answers.py   answers to questions: true and private side by side, on the page and on the screen
screen.py    the terminal screens: twenty lines, or every figure

The page: one self-contained HTML file, without scripts and without external resources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from fieldfare.shared.finished_model.card_page import group_tables
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.joining.page import joining_context
from fieldfare.shared.pages import charts as feature_panels
from fieldfare.shared.pages.charts import Shape, plain_shape
from fieldfare.shared.pages.templates import page_template
from fieldfare.shared.pages.words import odds_factor, plain
from fieldfare.simulations.report import figures, pictures, words
from fieldfare.simulations.report.answers import answer_tables
from fieldfare.simulations.report.audit import audit_sentences
from fieldfare.simulations.report.curves import ModelScores, auroc_interval, both_classes
from fieldfare.simulations.report.figures import Results
from fieldfare.simulations.report.others import OTHERS, others_rows

Scores = Mapping[str, Sequence[ModelScores]]

TEMPLATE: Final = resources.files("fieldfare.simulations.report") / "report.html"
FRAGMENT: Final = resources.files("fieldfare.simulations.report") / "result.html"

SENTENCES: Final = (
    *("warning", "setting", "budget", "spared", "readings", "drowned", "several", "spent"),
)
"""Sentences that stand by themselves on the page."""

DEFINITION: Final = (
    "A higher score for a labelled unit than for an unlabelled one, drawn at random: AUROC is how "
    "often that happens (0.5 is guessing). Average precision is the share of labelled among those "
    "ranked highest, averaged over all lengths of the list (guessing gives the labelled share)."
)


def write_report(
    path: Path, *, results: Mapping[str, Any], scores: Scores, shapes: Sequence[Shape]
) -> None:
    """Write the report of a simulation as one HTML file.

    `results` is the content of results.json; `scores` maps a model's key to its
    pooled hold-out scores (several for models that each institution has of its
    own); `shapes` are the shared model's features. The same input gives the same
    bytes. Names are untrusted: they are escaped and stripped of control characters.

    Raises:
        OSError: `path` cannot be written.
    """
    context = _context(
        plain(results),
        {key: [replace(s, name=plain(s.name)) for s in given] for key, given in scores.items()},
        [plain_shape(shape) for shape in shapes],
    )
    path.write_text(page_template(TEMPLATE).render(context), encoding="utf-8")


def result_html(results: Mapping[str, Any], scores: Scores) -> str:
    """Return the answer, the comparison and one picture as a piece of HTML, for a notebook.

    Arguments are those of `write_report`; names are escaped and stripped as there.
    """
    shown = plain(results)
    context = {
        "study": shown["study"],
        "institutions": len(shown["institutions"]),
        "units": sum(entry["units"] for entry in shown["institutions"]),
        "unit": figures.units(shown),
        "epsilon": shown["privacy"]["epsilon"],
        "warning": words.sentence(shown, "warning") or words.sentence(shown, "setting"),
        "conclusion": words.conclusion(shown),
        "rows": _comparison(shown),
        "intervals": {key: auroc_interval(scores.get(key, ())) for key in shown["models"]},
        "picture": pictures.bars(shown, "average_precision", "Average precision", None),
    }
    return page_template(FRAGMENT).render(context)


def _context(results: Results, scores: Scores, shapes: Sequence[Shape]) -> dict[str, Any]:
    """Everything that the template fills in."""
    return {
        "study": results["study"],
        "institutions": results["institutions"],
        "total_units": sum(entry["units"] for entry in results["institutions"]),
        "units": figures.units(results),
        "unit": figures.unit(results),
        "conclusion": words.conclusion(results),
        "share": figures.alert_budget(results),
        "world": [*words.world(results), *words.sentences(results, "asked")],
        "definition": DEFINITION,
        "comparison": _comparison(results),
        "others": others_rows(results),
        "others_said": OTHERS,
        "found": results.get("found"),
        "verdict_of": figures.verdict_of,
        "judged": words.sentences(results, "judged", "learned_on"),
        "first": words.sentences(results, *words.FIRST[1:]),
        "gains": pictures.gains(results["found"]) if results.get("found") else None,
        "version": results.get("version"),
        "seed": results.get("seed"),
        "own": _institutions(results),
        "released": _released(results),
        "groups": results.get("groups"),
        "released_groups": group_tables(results.get("released_groups")),
        "answers": answer_tables(results),
        "joining": joining_context(results["joining"]) if results.get("joining") else None,
        "bins": (results.get("released_metrics") or {}).get("calibration") or [],
        "panels": feature_panels.panels(shapes),
        "geometry": feature_panels,
        "privacy": results["privacy"],
        "promise": [*words.privacy(results), *audit_sentences(results)],
        "needs_more": figures.needs_more(results),
        "participants": figures.participants(results),
        "factor": odds_factor(results["privacy"]["epsilon"]),
        "harm_rules": HARM_RULES,
        "files": results.get("files") or {},
        "timing": results.get("timing") or {},
        "holdout": _holdout(scores),
        **{name: words.sentence(results, name) for name in SENTENCES},
        **_pictures(results, scores),
    }


def _pictures(results: Results, scores: Scores) -> dict[str, Any]:
    """All matplotlib figures; None where there is nothing to draw."""
    holdout = _holdout(scores)
    told = results.get("released_metrics")
    usable = [one for one in scores.get("federated", ()) if both_classes(one)]
    return {
        "auroc_bars": pictures.bars(results, "auroc", "AUROC", 0.5),
        "precision_bars": pictures.bars(
            results, "average_precision", "Average precision", holdout["share"] if holdout else None
        ),
        "roc": pictures.curves(scores, "roc"),
        "precision_recall": pictures.curves(scores, "precision_recall"),
        "released_picture": pictures.released(results) if told else None,
        "calibration": pictures.calibrated((told or {}).get("calibration") or [], usable),
        "groups_picture": pictures.groups(results) if results.get("groups") else None,
    }


def _holdout(scores: Scores) -> dict[str, Any] | None:
    """Size of the pooled hold-out and its labelled share."""
    first = next(iter(scores.get("federated", ())), None)
    if first is None or not first.labels.size:
        return None
    positives = int(np.count_nonzero(first.labels))
    return {
        "units": first.labels.size,
        "positives": positives,
        "share": positives / first.labels.size,
    }


def _comparison(results: Results) -> list[dict[str, Any]]:
    """Rows of the comparison table."""
    keys = ("auroc", "average_precision", "brier", "recall_at_budget", "precision_at_budget")
    return [
        {
            "key": model,
            "name": said.name,
            "meaning": said.meaning,
            **{key: figures.metric(results, model, key) for key in keys},
        }
        for model, said in words.MODELS.items()
        if results["models"].get(model)
    ]


def _institutions(results: Results) -> list[dict[str, Any]]:
    """Rows of the table of institutions: its own models and the shared one, on both hold-outs."""
    rows = []
    for entry in results["institutions"]:
        row: dict[str, Any] = {"name": entry["name"], "units": entry["units"]}
        for model in ("alone", "alone_dp", "federated", "at_home"):
            measured = (results["models"].get(model) or {}).get("per_institution") or {}
            own = measured.get(entry["name"]) or {}
            row[model] = {"pooled": own.get("pooled") or {}, "own": own.get("own") or {}}
        row["cases"] = entry.get("measured_positives")
        rows.append(row)
    return rows


def _released(results: Results) -> list[dict[str, Any]]:
    """Rows of the table of released metrics; empty where evaluation was off."""
    told = results.get("released_metrics") or {}
    named = [(key, title) for key, title, _ in pictures.RELEASED]
    counts = [("units", "Units in the hold-out"), ("positives", "Labelled among them")]
    return [
        {"title": title, "count": key in {"units", "positives"}, **(told.get(key) or {})}
        for key, title in (*named, *counts)
        if (told.get(key) or {}).get("value") is not None
    ]
