"""What is written is what Prometheus reads, and never half of it."""

import os
import stat
import threading
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.exposition import exposition, of_this_machine, write_textfile
from fieldfare.shared.watch.metrics import MetricSample, all_metrics


def test_every_metric_can_be_read_back() -> None:
    given = [
        MetricSample(
            one, number, tuple(min(values, default="bank-a") for values in one.labels.values())
        )
        for number, one in enumerate(all_metrics())
    ]
    read = {
        sample.name: sample.value
        for family in text_string_to_metric_families(exposition(given).decode())
        for sample in family.samples
    }
    assert read == {one.metric.name: one.value for one in given}


def test_the_same_state_is_the_same_bytes() -> None:
    given = [MetricSample(metrics.READY, 1), MetricSample(metrics.STORE, 5, ("runs",))]
    assert exposition(given) == exposition(reversed(given))
    assert exposition([]) == b""


def test_nothing_of_the_process_is_told() -> None:
    text = exposition(of_this_machine("custodian")).decode()
    assert 'fieldfare_build_info{role="custodian",version="' in text
    assert "process_" not in text
    assert "python_" not in text


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, ended = tmp_path / "a.prom", threading.Event()
    contents = {b"a" * 200_000, b"b" * 100_000}
    write_textfile(path, b"a" * 200_000)
    seen: set[bytes] = set()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(40):
        for content in contents:
            write_textfile(path, content)
    ended.set()
    reader.join()
    assert seen <= contents
    assert [one.name for one in tmp_path.iterdir()] == ["a.prom"]


def test_another_user_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_textfile(tmp_path / "a.prom", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.prom").stat().st_mode) == 0o644
