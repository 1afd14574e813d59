"""The page: whole, closed to strangers, the same every time, small, and honest."""

import copy
import html
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.support.runs.grouped import released_groups

from fieldfare.simulations.report.page import write_report

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """A parsed page; refuses tags that do not close in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def written(run: Any, folder: Path) -> Page:
    path = folder / "report.html"
    write_report(path, results=run.results, scores=run.scores, shapes=run.shapes)
    return Page(path)


@pytest.fixture(scope="module")
def page(make_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a run that nothing was changed in; drawing it takes seconds."""
    return written(make_run(), tmp_path_factory.mktemp("page"))


def test_every_part_is_there_and_well_formed(page: Page) -> None:
    for phrase in (
        "Not a protected run. This run used fast seeded noise and nothing was masked.",
        "ranks clearly better than an institution's own model without privacy",
        "Together, alone, and in one pool",
        "ROC curves",
        "Precision and recall",
        "Each institution, alone and together",
        "through the door",
        "Calibration of the shared model",
        "False positives by group (life)",
        "What each feature adds to the score",
        "If every mask failed",
        "Prohibited",
        "immigration enforcement",
        "people decide",
        "out/demo/results.json",
    ):
        assert phrase in page.text
    assert page.source.startswith("<!DOCTYPE html>")
    assert Counter(tag for tag, _ in page.tags)["h1"] == 1


def test_nothing_is_loaded_and_nothing_runs(page: Page) -> None:
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "form"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "xlink:href", "src", "srcset", "data", "action"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"url\((?!#)|@import", page.source)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": policy}) in page.tags


def test_references_lead_somewhere_and_ids_are_unique(page: Page) -> None:
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert ids.most_common(1)[0][1] == 1
    targets: set[str | None] = {
        (attributes.get(name) or "")[1:]
        for _, attributes in page.tags
        for name in ("href", "xlink:href")
        if name in attributes
    }
    targets |= {a["aria-labelledby"] for _, a in page.tags if a.get("aria-labelledby")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", page.source))
    assert targets <= set(ids)


@pytest.mark.promises
def test_pictures_have_words_and_tables_have_heads(make_run: Any, tmp_path: Path) -> None:
    page = written(make_run(features=5), tmp_path)
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 7 + 5
    assert all(a.get("role") == "img" and len(a.get("aria-label") or "") > 10 for a in drawings)
    assert all(a.get("scope") for tag, a in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags


HOSTILE = '<script>alert(1)</script>" onload="x" \'&{{ 7*7 }}\x1b[2J\u202e'


def test_names_of_strangers_stay_text(make_run: Any, tmp_path: Path) -> None:
    run = make_run(names=(HOSTILE, "b", "c"))
    run.results["study"] |= {"name": HOSTILE, "purpose": HOSTILE, "prohibited_uses": [HOSTILE]}
    run.results["study"] |= {"id": HOSTILE, "model": HOSTILE}
    run.results["groups"] |= {"column": HOSTILE}
    run.results["groups"]["rows"][0]["name"] = HOSTILE
    run.results["files"] = {HOSTILE: HOSTILE}
    shapes = [
        replace(run.shapes[0], feature=HOSTILE, slots={HOSTILE: 0.2}),
        replace(run.shapes[3], feature=HOSTILE, x=[HOSTILE, "b", "c"]),
    ]
    page = written(run._replace(shapes=shapes), tmp_path)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "\x1b" not in page.source
    assert "\u202e" not in page.source
    assert "{{ 7*7 }}" in page.text
    assert page.text.count("<script>alert(1)</script>") >= 10


def test_the_same_input_gives_the_same_bytes_in_any_process(
    make_run: Any, page: Page, tmp_path: Path
) -> None:
    run, first = make_run(), page.source
    assert written(run, tmp_path).source == first
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "from fieldfare.simulations.report.page import write_report\n"
        "results, scores, shapes = pickle.loads(sys.stdin.buffer.read())\n"
        f"write_report(Path({str(tmp_path / 'other.html')!r}), "
        "results=results, scores=scores, shapes=shapes)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    sent = pickle.dumps((run.results, run.scores, run.shapes))
    subprocess.run([sys.executable, "-c", code], input=sent, env=environment, check=True)
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == first


@pytest.mark.promises
def test_it_stays_small(make_run: Any, tmp_path: Path) -> None:
    names = tuple(f"bank {i}" for i in range(20))
    page = written(make_run(units=40_000, features=40, names=names), tmp_path)
    assert len(page.source.encode()) < 3_000_000


def test_a_bare_run_is_reported_too(make_run: Any, tmp_path: Path) -> None:
    run = make_run(quality={"federated": 1.0}, noise="exact")
    for key in ("groups", "files", "timing"):
        del run.results[key]
    run.results["released_metrics"] = None
    run.results["models"]["federated"] |= {"brier": None, "recall_at_budget": None}
    page = written(run._replace(scores={}, shapes=[]), tmp_path)
    assert "does not show whether learning together helps" in page.text
    assert "Evaluation was off" in page.text
    assert "No curves" in page.text
    assert "Not a protected run" not in page.text
    assert "all records were on this one machine" in page.text


def test_an_unmeasurable_run_says_so(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    for model in run.results["models"].values():
        model.update(dict.fromkeys(("auroc", "average_precision", "brier")))
        model["per_institution"] = {}
    page = written(run._replace(scores={}), tmp_path)
    assert "No ranking could be measured" in page.text


def test_bad_news_is_told(make_run: Any, tmp_path: Path) -> None:
    page = written(make_run(quality={"federated": 0.5, "alone": 2.0}), tmp_path)
    assert "ranks clearly worse than an institution's own model" in page.text
    assert "would do better alone" in page.text


@pytest.mark.promises
def test_the_printed_check_computes_delta(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    # mu = 1 at epsilon 1: delta = Phi(-1/2) - e Phi(-3/2) = 0.30854 - e * 0.06681 = 0.12694
    run.results["privacy"] |= {"mu2_planned": 1.0, "epsilon": 1.0, "delta": 0.12694}
    source = written(run, tmp_path).source
    found = re.search(r"<pre><code>(.*?)</code></pre>", source, re.DOTALL)
    assert found is not None
    exec(html.unescape(found[1]), {})  # noqa: S102
    assert float(capsys.readouterr().out) == pytest.approx(0.12694, abs=1e-5)


@pytest.mark.promises
def test_in_local_mode_the_page_says_what_leaves(make_run: Any, page: Page, tmp_path: Path) -> None:
    run = make_run()
    assert "steps inside the institution" not in page.text
    run.results["study"] |= {"mode": "local", "steps": 5, "local_steps": 10}
    text = written(run, tmp_path).text
    assert "One vector for each of 5 exchanges" in text
    assert "how far 10 steps inside the institution moved the model" in text
    assert "noise on each institution's own sum (sigma)" in text


@pytest.mark.promises
def test_released_groups_are_a_table_with_intervals_and_verdicts(
    make_run: Any, page: Page, tmp_path: Path
) -> None:
    run = make_run()
    assert "On whom alerts fall" not in page.text
    run.results["released_groups"] = released_groups()
    grouped = written(run, tmp_path)
    assert "On whom alerts fall, as released" in grouped.text
    assert "By age band." in grouped.text
    assert "more than twice: 9.1 times" in grouped.text
    assert "too few to say" in grouped.text
    assert ("section", {"aria-labelledby": "released-groups"}) in grouped.tags


@pytest.mark.promises
def test_names_of_groups_are_words(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    run.results["released_groups"] = copy.deepcopy(released_groups())
    run.results["released_groups"]["columns"][0]["rows"][0]["name"] = "<script>alert(1)</script>"
    page = written(run, tmp_path)
    assert "<script>alert" not in page.source
    assert "<script>alert(1)</script>" in page.text


@pytest.mark.promises
def test_units_at_too_many_institutions_are_warned_of(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    assert "stand at up to" not in written(run, tmp_path).text
    results = copy.deepcopy(run.results)
    results["privacy"]["multiplicity"] = {
        "study": 1, "needed": 5, "by": "id", "units": 2000, "several": 1500, "beyond": 1500,
        "epsilon_of_worst": 6.4231,
    }  # fmt: skip
    page = written(run._replace(results=results), tmp_path)
    assert "1,500 of 2,000 accounts stand at up to 5 institutions" in page.text
    assert re.search(r'<p class="warning" role="note">1,500 of 2,000', page.source)


@pytest.mark.promises
def test_models_of_others_say_what_their_makers_see(make_run: Any, tmp_path: Path) -> None:
    run, figures = make_run(), {"auroc": 0.75, "average_precision": 0.5, "recall_at_budget": 0.25}
    krum = {"name": "krum", "sees": "every update", "epsilon": None, "promised": None}
    ebm = {"name": "dp-ebm", "sees": "every record", "epsilon": 1.0, "promised": "unit"}
    assert "in simulation only" not in written(run, tmp_path).text
    run.results["others"] = [krum | figures, ebm | figures]
    text = written(run, tmp_path).text
    assert "in simulation only: no study can name one" in text
    assert "krum every update none 0.750 0.500 0.250" in text
    assert "dp-ebm every record 1, of one unit 0.750 0.500 0.250" in text
