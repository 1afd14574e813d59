"""What a custodian tells of itself: of ledger, log and policy, and of no record."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.homes.institutions import NAMES, NOW, Coordinator, approve_all, clock, home_study
from tests.support.homes.runs import HomesBench
from tests.support.runs.transcripts import Recorder
from tests.support.system.processes import until

from fieldfare.client.daemon import watching
from fieldfare.client.daemon.process import lines_of
from fieldfare.client.daemon.reload import (
    CustodianInputs,
    CustodianReloader,
    custodian_reloader,
)
from fieldfare.client.daemon.watching import custodian_samples, moment_of, telling
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.open import open_custody
from fieldfare.shared.errors import UsageError
from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.exposition import exposition
from fieldfare.shared.watch.metrics import MetricSample

# Fewer customers, other values, one class, and rows that count as zero.
OTHERS = "customer,reported,amount,channel\n" + "".join(
    f"person-{row},{'1' if row % 5 else ''},{row * 1000},\n" for row in range(180)
)


@contextmanager
def federation() -> Iterator[Coordinator]:
    with TemporaryDirectory(prefix="ff-") as folder:
        made = Coordinator(Path(folder))
        for name in NAMES:
            made.found(name)
        made.pin()
        made.compare()
        yield made


def inputs(home: Home) -> CustodianInputs:
    return CustodianInputs(home=home.path, passphrase=None, environment={}, clock=clock)


def text_of(reloader: CustodianReloader) -> str:
    """The file as it would be written, by an injected clock."""
    institution = reloader.institution
    delta = institution.policy.budget.delta
    found = moment_of(institution.home, delta, reloader.status(), reloader.counts(), NOW)
    return exposition(custodian_samples(found)).decode()


@dataclass(frozen=True)
class ToldRun:
    """All that a custodian told of a run: its file of metrics, and its log."""

    file: str
    log: list[str]


def told_of_a_run(records: str | None, caplog: pytest.LogCaptureFixture) -> ToldRun:
    """A whole run through real custodians; `records`: in the place of one institution's."""
    study = home_study()
    caplog.clear()
    with federation() as coordinator, ExitStack() as stack, caplog.at_level(logging.INFO):
        if records is not None:
            (coordinator.homes[NAMES[0]].path / "records.csv").write_text(records)
        with ExitStack() as deciding:
            opened = [
                deciding.enter_context(open_custody(coordinator.institution(name), None, clock))
                for name in NAMES
            ]
            approve_all(coordinator, opened, study)
        reloaders = [
            stack.enter_context(custodian_reloader(inputs(coordinator.homes[name])))
            for name in NAMES
        ]
        custodies = [one._custody for one in reloaders]
        bench = HomesBench(coordinator, custodies, study)
        Recorder(bench).open().finish()  # type: ignore[arg-type]
        custodies[0].custodian.release(b"nonsense", b"")
        file, said = text_of(reloaders[0]), [one.getMessage() for one in caplog.records]
        with open_custody(reloaders[0].institution, None, clock) as again:
            approve_all(coordinator, [again], home_study(name="another"))
        reloaders[0].reload()
        said += [line for report in reloaders[0].told() for line in lines_of(report)]
        return ToldRun(file, said)


def told_of_approvals(*, readable: bool) -> tuple[list[str], list[str]]:
    """What people and the log are told where records can be read, cannot, and come back or go."""
    study, name = home_study(), NAMES[0]
    with federation() as coordinator:
        records = coordinator.homes[name].path / "records.csv"
        good = records.read_text()
        with custodian_reloader(inputs(coordinator.homes[name])) as reloader:
            with open_custody(reloader.institution, None, clock) as custody:
                approve_all(coordinator, [custody], study)
            records.write_text(good if readable else "no,such,columns\n")
            reports = [reloader.reload()]
            records.write_text("neither,these\n" if readable else good)
            reports.append(reloader.reload())
            log = [line for report in reloader.told() for line in lines_of(report)]
    return [line for report in reports for line in report.changed], log


def test_the_log_does_not_say_whether_records_could_be_read() -> None:
    """People hear which study is served; the log of both has the same lines."""
    people, log = told_of_approvals(readable=True)
    others, same = told_of_approvals(readable=False)
    assert log == same != []
    assert any("is served" in line for line in people)
    assert any("is served" in line for line in others)
    assert not any("study " in line or "left out" in line for line in log)


def values_of(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, "/".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_nothing_that_is_told_differs_when_records_differ(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same file and the same lines, byte for byte, also where rows count as zero."""
    ones, others = told_of_a_run(None, caplog), told_of_a_run(OTHERS, caplog)
    assert ones.file == others.file
    assert ones.log == others.log
    assert any(line.startswith("in force: approvals") for line in ones.log)
    found = values_of(ones.file)
    assert found["fieldfare_custodian_releases_total", "training"] == 3
    assert found["fieldfare_custodian_releases_total", "rehearsal"] == 1
    assert found["fieldfare_custodian_run_acts_total", "opened"] == 1
    refusals = {key: found[key] for key in found if key[0] == "fieldfare_custodian_refusals_total"}
    assert sum(refusals.values()) == 1
    assert found["fieldfare_custodian_studies", "approved"] == 1
    assert found["fieldfare_ledger_entries", ""] > 3
    left, limit = (found[f"fieldfare_budget_{word}_mu2", "year"] for word in ("left", "limit"))
    assert 0 < left < limit
    assert found["fieldfare_budget_left_epsilon", "year"] < 2


def test_only_what_is_promised_of_a_custodian_is_told(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAMES[0]]
    with custodian_reloader(inputs(home)) as reloader:
        names = {family.name for family in text_string_to_metric_families(text_of(reloader))}
    promised = {one.name.removesuffix("_total") for one in metrics.OF_CUSTODIAN}
    promised -= {metrics.CERTIFICATE.name}  # of a link, and this one listens at a socket
    assert names == promised  # each is there from the first second, at 0 perhaps


def test_a_custodian_that_serves_nothing_says_so(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAMES[0]]
    with custodian_reloader(inputs(home)) as reloader:
        assert values_of(text_of(reloader))["fieldfare_custodian_serving", ""] == 1
        home.policy.write_text("broken")
        reloader.reload()
        assert values_of(text_of(reloader))["fieldfare_custodian_serving", ""] == 0


def test_the_file_is_written_anew_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "WRITE_SECONDS", 0.01)
    path, count = tmp_path / "f.prom", iter(range(1_000_000))
    with telling(path, lambda: [MetricSample(metrics.LEDGER_ENTRIES, next(count))]):
        until(lambda: "fieldfare_ledger_entries 3" in path.read_text())
    last = path.read_text()
    assert path.read_text() == last


def test_a_file_that_cannot_be_written_stops_nothing_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "WRITE_SECONDS", 0.01)
    path = tmp_path / "f.prom"
    path.mkdir()  # in its place
    with telling(path, list), caplog.at_level(logging.WARNING):
        until(lambda: caplog.messages)
        path.rmdir()
        until(path.is_file)
    first, second = caplog.messages
    assert "the file of metrics cannot be written" in first
    assert second.endswith("is written again")


def test_a_folder_that_is_not_there_is_a_mistake_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "no" / "f.prom"
    with pytest.raises(UsageError, match="node exporter"), telling(path, list):
        pass
