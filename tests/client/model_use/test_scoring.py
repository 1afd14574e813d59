from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.support.homes.institutions import NOW, Coordinator, OpenCustody, all_bytes, clock
from tests.support.homes.journals import logged_text
from tests.support.records.scored import Analyst, analyst_of, customers, write
from tests.support.runs.finished import METRICS, RUN

from fieldfare.client.alerts.alert_queue import suppressed_units
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.store import open_store
from fieldfare.client.home.settings import AlertsSection
from fieldfare.client.journal.journal import Journal
from fieldfare.client.model_use.score import ScoringOutcome, Sources, budget_of, score, tables
from fieldfare.client.model_use.usable import usable_model
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evaluation.score_map import Cut, ScoreMap, score_map


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys, units=300)


def scored(analyst: Analyst, name: str = "a", days: int = 0, **changes: Path) -> ScoringOutcome:
    institution = analyst.coordinator.institution()
    return score(
        institution,
        Journal.open(institution.home.log_folder, clock=clock),
        usable_model(institution, RUN),
        Sources(before=(changes["before"],) if "before" in changes else ()),
        analyst.folder / f"{name}.parquet",
        budget=20,
        user="ana",
        now=NOW + timedelta(days=days),
        random=np.random.default_rng(1),
        environment={},
    )


def test_a_scoring_keeps_its_alerts_and_writes_everyone(analyst: Analyst) -> None:
    found = scored(analyst)
    assert (len(found.alerts), found.new) == (21, 21)
    assert [alert.rank for alert in found.alerts] == sorted(alert.rank for alert in found.alerts)
    assert pq.read_table(analyst.folder / "a.parquet").num_rows == 300
    with open_store(analyst.home) as store:
        assert sorted(k.alert.alert for k in store.all()) == sorted(a.alert for a in found.alerts)


CUTS = {Cut.F1: -3.0, Cut.BUDGET: -2.5}
RELEASED = ScoreMap(2.0, -1.0, 0.6, 9000, 400, CUTS)


def cut_at(analyst: Analyst, cut: Cut, released: ScoreMap | None) -> ScoringOutcome:
    institution = analyst.coordinator.institution()
    return score(
        institution,
        Journal.open(institution.home.log_folder, clock=clock),
        replace(usable_model(institution, RUN), released=released),
        Sources(),
        analyst.folder / "cut.parquet",
        budget=None,
        cut=cut,
        user="ana",
        now=NOW,
        random=np.random.default_rng(1),
        environment={},
    )


@pytest.mark.parametrize("cut", list(Cut))
def test_a_cut_alerts_everybody_from_its_score_on_and_nobody_below(
    analyst: Analyst, cut: Cut
) -> None:
    ranking = cut_at(analyst, cut, RELEASED).ranking
    eligible = ranking.units.labels != 1
    above = ranking.scores >= CUTS[cut]
    assert int((above & eligible).sum()) > 1
    assert ((ranking.chosen == 1) == (above & eligible)).all()


def test_a_tuned_model_has_no_released_cut(analyst: Analyst) -> None:
    with pytest.raises(UsageError, match="--cut: expected a model as it was delivered"):
        cut_at(analyst, Cut.F1, None)


def test_what_a_card_released_comes_with_its_model(
    analyst: Analyst,
) -> None:
    model = usable_model(analyst.coordinator.institution(), RUN)
    assert model.released == score_map(METRICS)


def test_an_alerts_reasons_add_up_exactly_to_its_score(analyst: Analyst) -> None:
    for alert in scored(analyst).alerts:
        total = alert.base
        for one in (*alert.reasons, *alert.counter_evidence):
            total += one.contribution
        assert total + alert.others == alert.score


def test_the_log_says_that_it_was_done_and_about_nobody(analyst: Analyst) -> None:
    before = logged_text(analyst.home.log_folder)
    found = scored(analyst)
    log = logged_text(analyst.home.log_folder)
    added = log.removeprefix(before)
    assert '"scored"' in added
    for alert in found.alerts:
        assert alert.unit not in log
        assert alert.alert not in log


def test_a_second_scoring_asks_nobody_twice(analyst: Analyst) -> None:
    first = scored(analyst)
    second = scored(analyst, "b", days=1)
    assert second.new <= 1  # the random one
    with open_store(analyst.home) as store:
        chosen = store.find(first.alerts[0].alert).alert
        store.add(
            Feedback(chosen.alert, NOW, "ana", Disposition.BENIGN_OTHER, PartyRole.BYSTANDER,
                     Confidence.HIGH)
        )  # fmt: skip
    third = scored(analyst, "c", days=2)
    assert third.ranking.resting == 1
    assert chosen.unit not in {alert.unit for alert in third.alerts}


def test_who_is_suppressed_is_in_no_file(analyst: Analyst) -> None:
    unit = scored(analyst).alerts[0].unit
    analyst.home.suppression.write_text(f"unit,reason\n{unit},survivor in recovery\n")
    analyst.home.suppression.chmod(0o600)
    found = scored(analyst, "b")
    assert found.ranking.suppressed == 1
    assert unit not in {alert.unit for alert in found.alerts}
    assert unit not in pq.read_table(analyst.folder / "b.parquet").column("unit").to_pylist()


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("unit,reason\na,b\n", 0o644, "chmod 600"),
        ("no header\n", 0o600, "header"),
        ("unit,reason\na\n", 0o600, "row 1"),
    ],
)
def test_a_wrong_suppression_list_stops_everything(
    analyst: Analyst, text: str, mode: int, said: str
) -> None:
    analyst.home.suppression.write_text(text)
    analyst.home.suppression.chmod(mode)
    with pytest.raises(UsageError, match=said):
        suppressed_units(analyst.home, analyst.coordinator.institution().settings)


def test_own_baselines_come_from_an_earlier_table(analyst: Analyst) -> None:
    path = write(analyst.folder / "before.csv", customers(300, seed=9))
    found = scored(analyst, before=path)
    assert any(one.own_baseline is not None for alert in found.alerts for one in alert.reasons)


def test_the_budget_is_asked_set_or_the_studys(analyst: Analyst) -> None:
    settings = analyst.coordinator.institution().settings
    assert budget_of(settings, analyst.study, 7).alerts(1000) == 7
    set_here = settings.model_copy(update={"alerts": AlertsSection(budget=9)})
    assert budget_of(set_here, analyst.study, None).alerts(1000) == 9
    assert budget_of(settings, analyst.study, None).alerts(1000) == 10


def test_a_mapping_needs_files(analyst: Analyst) -> None:
    with pytest.raises(UsageError, match="--mapping"):
        tables(
            analyst.coordinator.institution(), analyst.study, Sources(mapping=Path("m.toml")), {}
        )


def test_nothing_that_scoring_keeps_is_where_the_network_reads(analyst: Analyst) -> None:
    before = {path for path in analyst.folder.rglob("*") if path.is_file()}
    scored(analyst)
    new = {
        p.relative_to(analyst.folder).as_posix() for p in analyst.folder.rglob("*") if p.is_file()
    }
    new -= {path.relative_to(analyst.folder).as_posix() for path in before}
    assert {name for name in new if not name.startswith("log/")} == {
        "a.parquet",
        "records-health.json",
        "scoring/alerts.sqlite",
    }
    assert analyst.home.health.stat().st_mode & 0o077 == 0
    assert all_bytes(analyst.home)
