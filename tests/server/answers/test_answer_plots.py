from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.support.runs.answered import answer_set, results_file

from fieldfare.server.answers.answer import Cell
from fieldfare.server.answers.plots import MOST_BARS, MOST_PANELS, panels_of, write_plot
from fieldfare.server.answers.sets import simulated_answers
from fieldfare.shared.errors import UsageError


def test_each_measure_of_each_answer_has_a_picture() -> None:
    titles = [panel.title for panel in panels_of(answer_set())]
    assert len(titles) == 17
    assert {"by channel: count", "by channel: mean", "months: count"} <= set(titles)


@pytest.mark.parametrize(
    ("suffix", "begins"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml"), ("html", b"<!DOCTYPE html>")]
)
def test_every_kind_of_file_is_written_and_twice_the_same(
    tmp_path: Path, suffix: str, begins: bytes
) -> None:
    one = answer_set()
    some = replace(one, answers=one.answers[6:9])
    for name in ("a", "b"):
        write_plot(tmp_path / f"{name}.{suffix}", [some])
    content = (tmp_path / f"a.{suffix}").read_bytes()
    assert content.startswith(begins)
    assert content == (tmp_path / f"b.{suffix}").read_bytes()
    if suffix != "png":
        assert b"held back" in content


def test_a_page_names_its_pictures_and_escapes_strangers_texts(tmp_path: Path) -> None:
    one = answer_set()
    renamed = replace(one.answers[0], name='<script>"x"')
    months = replace(one.answers[-1], alarms=("2025-02",))
    write_plot(tmp_path / "p.html", [replace(one, answers=(renamed, months))])
    page = (tmp_path / "p.html").read_text()
    assert "<script>" not in page
    assert 'role="img" aria-label="&lt;script&gt;' in page
    assert "alarms: 2025-02" in page
    assert "A simulation." not in page
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    svg = svg.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)  # HTML knows it
    ET.fromstring(svg)  # noqa: S314 -- made here; well formed


def test_a_simulations_page_says_that_it_shows_the_truth(tmp_path: Path) -> None:
    found = simulated_answers(results_file(tmp_path))
    some = replace(found, answers=found.answers[:1], truths=found.truths[:1])
    write_plot(tmp_path / "p.html", [some])
    assert "A simulation." in (tmp_path / "p.html").read_text()


def test_a_picture_of_many_bars_says_what_it_leaves_out() -> None:
    one = answer_set()
    cells = tuple(Cell((str(i),), "count", float(i), 0.0, 1.0) for i in range(MOST_BARS + 5))
    (panel,) = panels_of(replace(one, answers=(replace(one.answers[6], cells=cells),)))
    assert "5 further cells not drawn" in panel.caption


def test_another_ending_or_too_much_is_refused(tmp_path: Path) -> None:
    one = answer_set()
    with pytest.raises(UsageError, match=r"ends in \.png, \.svg, \.html, found p\.pdf"):
        write_plot(tmp_path / "p.pdf", [one])
    few = replace(one, answers=one.answers[:1])
    for count in (0, MOST_PANELS + 1):
        with pytest.raises(UsageError, match=f"found {count}: name one run"):
            write_plot(tmp_path / "p.png", [few] * count)
