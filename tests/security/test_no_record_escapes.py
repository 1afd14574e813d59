"""No record escapes: marked records go in, and every byte that comes out is searched for them.

What comes out of a simulation are the messages over the Grid (both ways), log records, stdout,
stderr, the files of its folder, and the ledgers that live while it runs.
"""

import base64
import hashlib
import logging
import shutil
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message
from tests.support.rows import night

from fieldfare.client.node.client_app import client_app
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import RECORD
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.baselines import Baseline
from fieldfare.simulations.federation.federation import LocalFederation
from fieldfare.simulations.federation.grid import InProcessGrid
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import Simulation, simulate

BANKS: Final = ("Ashby", "Bream", "Crake", "Dunlin")
# What stands in records and in nothing that is public. Each text is a word of its own.
TEXTS: Final = {
    "unit id": "kx7quoll-bettong",
    "undeclared level": "wobbegong-exchange",
    "undeclared group": "thylacine-seaside",
    "missing token": "unknwn-pangolin",
    "negative label": "cleared-numbat",
    "column that no study names": "Fizzlebottom",
}
NUMBERS: Final = {"in bounds": 48151.623421337, "out of bounds": 7418529630741.25}
WHOLE: Final = 907135482613
# Four bytes stand somewhere in masks and signatures once in ten thousand runs; twice, in none. All
# banks hold the same numbers many times over, so a number that leaks does so more often than that.
TWICE: Final = 2
STUDY: Final = {
    "name": "marked",
    "purpose": "tests",
    "records": {
        "unit": "case",
        "label": "outcome",
        "positive": "filed",
        "missing": ["", TEXTS["missing token"]],
        "units": 200,
        "prevalence": 0.2,
    },
    "features": [
        {"name": "amount", "kind": "numeric", "lower": 0, "upper": 1e6, "scale": "log1p"},
        {"name": "account", "kind": "numeric", "lower": 0, "upper": 1e12, "knots": [0, 1e6, 1e12]},
        {"name": "venue", "kind": "categorical", "levels": ["branch", "online"]},
    ],
    "training": {"steps": 3},
    "evaluation": {"groups": [{"column": "age_band", "levels": ["young", "old"]}]},
    "privacy": {"epsilon": 20.0, "delta": 1e-5},
}


def write_records(folder: Path) -> list[str]:
    """One file a bank; every kind of marker in every file."""
    choices = []
    for index, bank in enumerate(BANKS):
        random = np.random.default_rng(index)
        lines = ["case,amount,account,venue,outcome,name,age_band"]
        for row in range(50):
            amount = f"{random.uniform(0, 1e5):.2f}"
            amount = [f"{NUMBERS['in bounds']!r}", f"{NUMBERS['out of bounds']!r}", amount][
                min(row % 10, 2)
            ]
            account = TEXTS["missing token"] if row % 7 == 0 else str(WHOLE)
            venue = [TEXTS["undeclared level"], "branch", "online"][row % 3]
            outcome = "filed" if row % 5 == 0 else TEXTS["negative label"]
            unit = f"{TEXTS['unit id']}-{bank}-{row:03d}"
            name = f"Aloysius {TEXTS['column that no study names']}"
            age = [TEXTS["undeclared group"], "young", "old", ""][row % 4]
            lines.append(f"{unit},{amount},{account},{venue},{outcome},{name},{age}")
        path = folder / f"{bank}.csv"
        path.write_text("\n".join(lines) + "\n")
        choices.append(f"{bank}={path}")
    return choices


# -- what to look for --------------------------------------------------------------------------


def text_forms(text: str) -> Iterator[bytes]:
    """The ways in which a text may stand in bytes."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"):
        yield text.encode(encoding)
    plain = text.encode()
    yield plain.hex().encode()
    yield plain[::-1]
    for start in range(3):  # base64 at each place that the text may have in a longer one
        whole = base64.b64encode(bytes(start) + plain)
        yield whole[4 if start else 0 : -4]
    digest = hashlib.sha256(plain)
    yield from (digest.digest(), digest.hexdigest().encode())


def number_forms(value: float) -> Iterator[bytes]:
    """Little-endian float64 and int64, and the digits that a person would print."""
    yield struct.pack("<d", value)
    if value > 2**32:  # a smaller one is mostly zeros, as is much of a file
        yield struct.pack("<q", int(value))
    for digits in (repr(value), f"{value:.2f}", f"{int(value)}", f"{value:.6e}"[:8]):
        yield digits.encode()
        yield base64.b64encode(digits.encode())[:-4]


def needles() -> dict[bytes, str]:
    """What to search for, and what each is a trace of."""
    found = {form: name for name, text in TEXTS.items() for form in text_forms(text)}
    for name, value in {**NUMBERS, "whole": float(WHOLE)}.items():
        found |= dict.fromkeys(number_forms(value), f"number {name}")
    # Shorter ones would be met by chance in masks and pictures.
    found = {needle: name for needle, name in found.items() if len(needle) >= 8}
    return found | {struct.pack("<f", value): f"number {name}" for name, value in NUMBERS.items()}


# -- where to look -----------------------------------------------------------------------------


@dataclass
class Watch:
    """Everything that comes out of one simulation, by the way it took."""

    out: Path
    wire: list[bytes] = field(default_factory=list)
    messages: int = 0
    printed: bytes = b""
    logged: bytes = b""
    ledgers: Path | None = None

    def tap(self, message: Message) -> None:
        """Keep a message: metadata and all contents."""
        self.messages += 1
        self.wire.append(repr(vars(message.metadata)).encode())
        if message.has_error():
            self.wire.append(repr(vars(message.error)).encode())
            return
        for name, record in message.content.items():
            self.wire.append(name.encode())
            assert isinstance(record, ConfigRecord), f"{type(record)} is searched by nobody"
            for key, value in record.items():
                self.wire.append(key.encode())
                self.wire.extend(value_bytes(value))

    def channels(self) -> dict[str, bytes]:
        """All bytes, by channel."""
        assert self.ledgers is not None
        return {
            "wire": b"\n".join(self.wire),
            "printed": self.printed,
            "logged": self.logged,
            "files": contents(self.out),
            "ledgers": contents(self.ledgers),
        }

    def finds(self, wanted: Mapping[bytes, str]) -> set[tuple[str, str]]:
        """(channel, what was found there)."""
        return {
            (channel, name)
            for channel, content in self.channels().items()
            for needle, name in wanted.items()
            if content.count(needle) >= (1 if len(needle) >= 8 else TWICE)
        }


def value_bytes(value: Any) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, list):
        return [part for item in value for part in value_bytes(item)]
    return [repr(value).encode()]


def contents(folder: Path) -> bytes:
    """Names and bytes of all files below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return b"\n".join(path.name.encode() + b"\n" + path.read_bytes() for path in files)


Simulate = Callable[..., Watch]


@pytest.fixture
def watched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Simulate:
    """Run a simulation over marked records and keep everything that comes out of it."""
    watch = Watch(tmp_path / "out")
    real_grid, real_exit = LocalFederation.grid, LocalFederation.__exit__

    def tapped(self: LocalFederation, **_: Any) -> InProcessGrid:
        return real_grid(self, tap=watch.tap)

    def kept(self: LocalFederation, *arguments: object) -> None:
        watch.ledgers = tmp_path / "ledgers"
        assert self._directory is not None
        shutil.copytree(self._directory, watch.ledgers)  # before the log is closed into the file
        real_exit(self, *arguments)

    def run(protection: Protection, baselines: tuple[Baseline, ...] = (), **changes: Any) -> Watch:
        monkeypatch.setattr(LocalFederation, "grid", tapped)
        monkeypatch.setattr(LocalFederation, "__exit__", kept)
        records = tmp_path / "records"
        records.mkdir()
        task = Simulation(
            study=Study.model_validate(STUDY | changes),
            choice=RecordsChoice(write_records(records)),
            out=watch.out,
            baselines=baselines,
            protection=protection,
        )
        caplog.set_level(logging.DEBUG)
        logging.getLogger("flwr").addHandler(caplog.handler)
        try:
            simulate(task)
        finally:
            logging.getLogger("flwr").removeHandler(caplog.handler)
        records_logged = [f"{r.getMessage()} {r.args!r} {r.exc_text}" for r in caplog.records]
        watch.logged = "\n".join(records_logged).encode()
        watch.printed = "".join(capfd.readouterr()).encode()
        return watch

    return run


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training": {"steps": 3, "mode": "local", "local_steps": 2}},
        *night({"geometry": {"kind": "whitened"}}),
    ],
    ids=["together", "local", "whitened"],
)
def test_nothing_marked_comes_out_of_an_exact_federation(
    changes: dict[str, Any], watched: Simulate
) -> None:
    watch = watched(Protection.EXACT, **changes)
    assert watch.finds(needles()) == set()
    # It did look: all four channels that are never empty hold what they should.
    assert watch.messages >= 2 * len(BANKS) * (3 + 3 + 1 + 1 + 1)
    assert watch.finds({b"fieldfare.reply.v3": "reply"}) == {
        ("wire", "reply"),
        ("ledgers", "reply"),
    }
    assert ("files", "feature") in watch.finds({b'"amount"': "feature"})


def test_nothing_marked_comes_out_of_a_simulated_federation_and_its_baselines(
    watched: Simulate,
) -> None:
    watch = watched(Protection.SIMULATED, tuple(Baseline))
    assert watch.finds(needles()) == set()


PLANTED: Final = {
    ("wire", "level"): TEXTS["undeclared level"].encode(),
    ("wire", "id in base64"): base64.b64encode(b"of " + TEXTS["unit id"].encode() + b"-Ashby"),
    ("wire", "label in UTF-16"): TEXTS["negative label"].encode("utf-16"),
    ("wire", "float64"): np.array([1.0, NUMBERS["in bounds"]]).tobytes(),
    ("wire", "float32"): np.array([NUMBERS["in bounds"]] * 2, dtype="<f4").tobytes(),
    ("wire", "int64"): np.array([WHOLE]).tobytes(),
    ("wire", "hash"): hashlib.sha256(TEXTS["unit id"].encode()).hexdigest().encode(),
    ("wire", "digits"): b"48151.62",
}


@pytest.mark.parametrize("leak", PLANTED, ids=lambda leak: leak[1])
def test_a_form_that_leaks_is_a_form_that_is_found(leak: tuple[str, str], tmp_path: Path) -> None:
    watch = Watch(tmp_path, ledgers=tmp_path, wire=[b"before", PLANTED[leak], b"after"])
    assert {channel for channel, _ in watch.finds(needles())} == {"wire"}


def test_a_planted_leak_is_found_in_every_channel(
    watched: Simulate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The searches above can fail: here is one leak for each channel, in a real run."""
    real_app, real_vector = client_app, StudySums.vector
    marker = TEXTS["unit id"]

    def leaky_app(custodian_of: Any) -> Any:
        app = real_app(custodian_of)

        def answer(message: Message, context: Any) -> Message:
            reply = app(message, context)
            record: Any = reply.content[RECORD]
            record["hint"] = TEXTS["undeclared level"].encode()
            return reply

        return answer

    def leaky_vector(self: StudySums, *given: Any) -> Any:
        logging.getLogger("fieldfare.client").debug("summing %s", TEXTS["negative label"])
        sys.stderr.write(f"{NUMBERS['in bounds']}\n")
        (tmp_path / "out" / "debug.npy").write_bytes(np.array([NUMBERS["out of bounds"]]).tobytes())
        return real_vector(self, *given)

    real_open = LocalFederation._open_ledger

    def leaky_ledger(self: LocalFederation, index: int, name: str) -> Any:
        ledger = real_open(self, index, name)
        ledger.put_run_state("notes", name, marker.encode())
        return ledger

    monkeypatch.setattr("fieldfare.simulations.federation.federation.client_app", leaky_app)
    monkeypatch.setattr(StudySums, "vector", leaky_vector)
    monkeypatch.setattr(LocalFederation, "_open_ledger", leaky_ledger)
    found = watched(Protection.EXACT).finds(needles())
    assert found == {
        ("wire", "undeclared level"),
        ("logged", "negative label"),
        ("printed", "number in bounds"),
        ("files", "number out of bounds"),
        ("ledgers", "unit id"),
    }
