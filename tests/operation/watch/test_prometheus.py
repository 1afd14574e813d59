"""A real Prometheus (Debian's) scrapes a running federation; every query has data; a death is told.

The custodians' files are served by Debian's node exporter. Rules wait seconds here, not minutes.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.shared.watch.test_shipped import dashboard_queries
from tests.support.federations.beds import small_bed
from tests.support.system.ports import free_ports
from tests.support.system.processes import until

from fieldfare.client.node.watching import NodeStatus, node_probes, present_samples
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.exposition import exposition, of_this_machine, write_textfile
from fieldfare.shared.watch.listener import WatchSource, watched_at
from fieldfare.shared.watch.metrics import MetricSample
from fieldfare.shared.watch.shipped import RULES, shipped_text
from fieldfare.simulations.demo.testbed import Bed, in_this_process

PATIENCE: Final = 90.0
LONG: Final = bool(os.environ.get("FIELDFARE_OPERATE_LONG"))


class Prometheus:
    """A Prometheus of a test."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}/api/v1/"

    def asked(self, path: str, **query: str) -> Any:
        where = f"{self.address}{path}"
        return httpx.get(where, params=query, timeout=60).raise_for_status().json()["data"]

    def found(self, query: str) -> list[Any]:
        found: list[Any] = self.asked("query", query=query)["result"]
        return found

    def firing(self) -> set[str]:
        return {
            one["labels"]["alertname"]
            for one in self.asked("alerts")["alerts"]
            if one["state"] == "firing"
        }


@contextmanager
def started(folder: Path, command: list[str]) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def prometheus(folder: Path, targets: dict[str, list[int]]) -> Iterator[Prometheus]:
    """One that asks every second, by the shipped rules with shorter waits."""
    (port,) = free_ports(1)
    rules = re.sub(r"for: \w+", "for: 2s", shipped_text(RULES))
    (folder / RULES).write_text(rules)
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{one}" for one in ports]}]}
        for job, ports in targets.items()
    ]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings = {"global": every, "rule_files": [RULES], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    command = [
        "/usr/bin/prometheus",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
    ]
    with started(folder, command):
        made = Prometheus(port)

        def answers() -> bool:
            try:
                return bool(made.found("up"))
            except httpx.HTTPError:
                return False

        until(answers, PATIENCE)
        yield made


def watched(bed: Bed, folder: Path) -> dict[str, list[int]]:
    """Turn watching on in every home of a founded bed; returns the ports of each job."""
    server, *nodes = free_ports(1 + len(bed.names))
    settings = CoordinatorHome(bed.coordinator_home).settings
    settings.write_text(settings.read_text().replace('watch = ""', f'watch = "127.0.0.1:{server}"'))
    for name, port in zip(bed.names, nodes, strict=True):
        home = bed.home(name)
        node = home / "node.toml"
        node.write_text(f'watch = "127.0.0.1:{port}"\n{node.read_text()}')
        (folder / name).mkdir()
        with (home / "institution.toml").open("a") as file:
            file.write(f'\n[watch]\ntextfile = "{folder / name / "fieldfare.prom"}"\n')
    return {"fieldfare-coordinator": [server], "fieldfare-node": nodes}


@contextmanager
def exporters(folder: Path, names: list[str]) -> Iterator[list[int]]:
    """Debian's node exporter for each custodian's file."""
    ports = free_ports(len(names))
    processes = []
    for name, port in zip(names, ports, strict=True):
        command = [
            "/usr/bin/prometheus-node-exporter",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={folder / name}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
    try:
        yield ports
    finally:
        for one in processes:
            one.terminate()
            one.wait(60)


@contextmanager
def watched_federation(folder: Path) -> Iterator[tuple[Bed, Prometheus]]:
    """A federation that runs, its custodians' files served, and a Prometheus that asks all."""
    files = folder / "files"
    files.mkdir()
    bed = small_bed(folder, steps=20 if LONG else 2)
    bed.command = in_this_process
    bed.found()
    targets = watched(bed, files)
    with exporters(files, bed.names) as ports:
        targets["fieldfare-custodian"] = ports
        try:
            bed.start()
            with prometheus(files, targets) as asked:
                yield bed, asked
        finally:
            bed.stop()


@pytest.mark.faults
def test_prometheus_scrapes_a_node_and_a_file_and_tells_that_the_node_is_gone(
    tmp_path: Path,
) -> None:
    """The short form: the real listener and file, by the real Prometheus and node exporter."""
    (port,), seen = free_ports(1), NodeStatus()
    seen.note_heard(message=True)
    ends = utc_now() + timedelta(days=10)
    source = WatchSource(
        role="node",
        samples=lambda: present_samples(seen, ends, tmp_path / "no.sock"),
        probes=lambda: node_probes(seen, tmp_path / "no.sock", utc_now()),
    )
    folder = tmp_path / "bank-a"
    folder.mkdir()
    told = [MetricSample(metrics.CUSTODIAN_SERVING, 0), *of_this_machine("custodian")]
    write_textfile(folder / "fieldfare.prom", exposition(told))
    with exporters(tmp_path, ["bank-a"]) as files:
        targets = {"fieldfare-node": [port], "fieldfare-custodian": files}
        with prometheus(tmp_path, targets) as asked:
            with watched_at(f"127.0.0.1:{port}", source):
                until(lambda: len(asked.found("fieldfare_build_info")) == 2, PATIENCE)
                expected = {"FieldfareCertificateEnds", "FieldfareCustodianServesNothing"}
                until(lambda: expected <= asked.firing(), PATIENCE)
                # A scrape has a second: on a machine with other work one comes too late.
                until(lambda: "FieldfareDown" not in asked.firing(), PATIENCE)
            until(lambda: "FieldfareDown" in asked.firing(), PATIENCE)


@pytest.mark.promises  # a federation takes 40 s of processor: make nightly PART=operate
def test_prometheus_scrapes_a_federation_and_tells_of_a_killed_node(tmp_path: Path) -> None:
    with watched_federation(tmp_path) as (bed, asked):
        run = bed.run(bed.agree())
        assert bed.until_ended(run).reason == ""
        until(lambda: len(asked.found('up{job=~"fieldfare.*"} == 1')) == 7, PATIENCE)
        steps = bed.loaded_study.training.steps
        until(lambda: asked.found(f"fieldfare_coordinator_steps_total == {steps}"), PATIENCE)
        released = f'fieldfare_custodian_releases_total{{kind="training"}} == {steps}'
        until(lambda: len(asked.found(released)) == 3, PATIENCE)
        missing = {query for query in dashboard_queries() if not asked.found(query)}
        if missing:  # a rate needs two scrapes
            until(lambda: not any(not asked.found(query) for query in missing), PATIENCE)
        assert "FieldfareDown" not in asked.firing()
        gone = bed.names[0]
        os.killpg(bed.pid(gone), signal.SIGKILL)
        until(lambda: "FieldfareDown" in asked.firing(), PATIENCE)
        down = asked.found('ALERTS{alertname="FieldfareDown",alertstate="firing"}')
        assert {one["metric"]["job"] for one in down} == {"fieldfare-node"}
        if LONG:  # the SuperLink's lease ends after a minute, a custodian is silent after two
            until(lambda: "FieldfareNodeGone" in asked.firing(), 2 * PATIENCE)
            until(lambda: "FieldfareCustodianSilent" in asked.firing(), 3 * PATIENCE)
