"""The harm rules, one by one, where a person would meet them broken.

They stand in docs/design.md, "The harm rules".
Modules test their own part as well; search the tests for `harm_rule_`.
"""

import ast
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.homes.reported import decided, reason, reported_alert
from tests.support.records.scored import Analyst, analyst_of, customers, scored_study, write
from tests.support.runs.finished import RUN

from fieldfare.client.alerts.feedback import NEW, Disposition, PartyRole, alert_status
from fieldfare.client.alerts.reports.facts import report_facts
from fieldfare.client.alerts.reports.fintrac import fintrac_draft
from fieldfare.client.alerts.reports.goaml import goaml_draft
from fieldfare.client.alerts.store import AlertStore, StoredAlert
from fieldfare.client.alerts.text import card
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.evidence import PERSONAS
from fieldfare.client.scoring.ranking_table import SCHEMA
from fieldfare.client.scoring.units import read_units
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.media_gate import value_problem
from fieldfare.shared.harm_rules import HARM_RULES, is_protected
from fieldfare.shared.terminal.screen import console
from fieldfare.simulations.metrics import group_rows
from fieldfare.simulations.world.personas import LOOK_ALIKES, PROTECTED_LOOK_ALIKES

ROOT = Path(__file__).parents[2]
CLIENT = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in sorted((ROOT / "client").rglob("*.py"))
}
# What is done with a model here, and the only code that may touch it.
# The settings name the alert budget, a constant of scoring.
USING = (
    *(
        f"client/{r}/"
        for r in ("alerts", "cli", "joining", "model_use", "oversight", "own_model", "scoring")
    ),
    "client/console/",  # listens on this machine alone, and starts no connection
    # Listens beside the console, on a unix socket for named users: tells nothing of alerts there,
    # and takes over what persons signed.
    *("client/desk/place.py", "client/desk/process.py"),
    "client/home/settings.py",
)
USE = re.compile(r"fieldfare\.client\.(?:alerts|joining|model_use|own_model|scoring)\b")
# Modules by which something could be sent, run or closed somewhere.
ACTING = {
    "asyncio", "flwr", "ftplib", "grpc", "http", "httpx", "multiprocessing", "requests", "signal",
    "smtplib", "socket", "ssl", "subprocess", "urllib", "webbrowser",
}  # fmt: skip


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys, units=300)


NAMES = {"http", "http.HTTPStatus"}  # numbers of answers: nothing is sent with them


def imports(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def reports(role: PartyRole) -> tuple[str, str]:
    facts = report_facts(reported_alert(), decided(role), {})
    return goaml_draft(facts).decode(), fintrac_draft(facts).decode()


def test_every_rule_has_its_test() -> None:
    named = {int(name[15]) for name in globals() if re.match(r"test_harm_rule_\d_", name)}
    assert named == set(range(1, len(HARM_RULES) + 1))


def test_harm_rule_1_a_possible_victim_is_never_the_subject() -> None:
    goaml, fintrac = reports(PartyRole.POTENTIAL_VICTIM)
    assert "<is_protected>true</is_protected>" in goaml
    assert "<is_suspected>true</is_suspected>" not in goaml
    (party,) = json.loads(fintrac)["parties"]
    assert (party["protected"], party["suspected"]) == (True, False)
    with pytest.raises(UsageError, match="possible victim"):
        report_facts(reported_alert(), decided(PartyRole.UNKNOWN), {})


def test_harm_rule_1_the_software_sets_no_party_role(analyst: Analyst) -> None:
    out = analyst.folder / "a.parquet"
    assert analyst("score", "--model", RUN, "--out", out)[0] == 0
    roles = {row["party_role"] for row in json.loads(analyst("alerts", "--json")[1])}
    assert roles == {"unknown"}
    setting = {
        name
        for name, source in CLIENT.items()
        if re.search(r"(?<!\bis )PartyRole\.(?!UNKNOWN)[A-Z]", source)  # `is` only compares
    }
    # Reads what a person set, to protect whom it says.
    assert setting == {"client/alerts/reports/facts.py"}


def test_harm_rule_2_no_single_indicator_suffices(capsys: pytest.CaptureFixture[str]) -> None:
    for column in ("families", "family_names", "against", "counter_evidence", "look_alikes"):
        assert not SCHEMA.field(column).nullable
    alone = reported_alert(
        families=1,
        family_names=("FLOW",),
        reasons=(reason("R04", 1.0, 9.0),),
        counter_evidence=(reason("R17", 0.0, -0.5),),
    )
    console().print(card(StoredAlert(alone, ())))
    said = " ".join(capsys.readouterr().out.split())
    assert "1 independent family: FLOW; one is not enough" in said
    assert "-0.50 R17" in said


def test_harm_rule_3_the_software_ranks_and_people_decide(analyst: Analyst) -> None:
    assert alert_status(()) == NEW
    assert analyst("score", "--model", RUN, "--out", analyst.folder / "a.parquet")[0] == 0
    rows = json.loads(analyst("alerts", "--json", "--state", "all")[1])
    assert rows
    assert {(row["state"], row["disposition"]) for row in rows} == {("new", None)}
    for status in (NEW, decided(PartyRole.CONTROLLER, Disposition.MONITOR)):
        with pytest.raises(UsageError, match="no report by itself"):
            report_facts(reported_alert(), status, {})
    assert decided(PartyRole.CONTROLLER, users=("ana", "ana")).state == "second_review"


def test_harm_rule_3_what_ranks_can_send_run_and_freeze_nothing() -> None:
    using = [name for name, source in CLIENT.items()
             if name.startswith("client/scoring/") or USE.search(source)]  # fmt: skip
    assert len(using) > 15
    for name in using:
        imported = {one for one in imports(CLIENT[name]) if not one.startswith("urllib.parse")}
        acting = {one for one in imported - NAMES if one.partition(".")[0] in ACTING}
        assert not acting, f"{name}: a ranking acts on nobody"
    adding = r"\bstore\.add\(|\bstore\.collect\(|\bdeed=Deed\.FEEDBACK"
    adders = {name for name, source in CLIENT.items() if re.search(adding, source)}
    assert adders == {"client/alerts/alert_queue.py"}
    deciding = {name for name, source in CLIENT.items() if re.search(r"\bqueue\.act\(", source)}
    own = {"cli/alerts.py", "console/alert_page.py", "console/queue_page.py"}
    assert deciding == {f"client/{name}" for name in own}  # a person's own commands and pages


@pytest.mark.parametrize("name", ["nationality", "gender", "age", "postcode", "citizenship", "sex"])
def test_harm_rule_4_protected_attributes_are_no_inputs(name: str, tmp_path: Path) -> None:
    assert is_protected(name)
    feature = {"kind": "numeric", "name": name, "lower": 0, "upper": 1}
    with pytest.raises(ValidationError, match="harm rule 4"):
        scored_study(features=[feature])
    needed = {column for one in own_pack().indicators for column in one.typology.required}
    assert not [column for column in needed if is_protected(column.partition(".")[2])]
    rows = customers(40)
    plain = read_units([table_at(write(tmp_path / "a.csv", rows))], scored_study())
    beside = {**rows, name: ["MARKER"] * 40}
    audited = read_units([table_at(write(tmp_path / "b.csv", beside))], scored_study(), [name])
    assert (audited.positions == plain.positions).all()  # read for an audit, and only for that
    assert set(audited.groups) == {name}


def test_harm_rule_5_look_alikes_are_labelled_negatives_and_their_errors_are_printed(
    analyst: Analyst,
) -> None:
    named = {"night_shift_worker", "travelling_nurse", "student", "migrant_sending_home",
             "independent_adult_worker"}  # fmt: skip
    assert named <= {one.name for one in LOOK_ALIKES}
    assert set(PROTECTED_LOOK_ALIKES) <= {one.name for one in LOOK_ALIKES}
    (row,) = group_rows(
        np.array(["student"] * 4), np.zeros(4, np.uint8), np.array([True, False, False, False])
    )
    assert row["false_positive_rate"] == 0.25
    for word in ("night-shift", "nurse", "student", "migrant", "adult sex worker", "survivor"):
        assert any(word in one.name for one in PERSONAS), f"no hint at a {word}"
    write(analyst.folder / "customers.csv", customers(2000))
    status, said, _ = analyst("evaluate", "--model", RUN, "--by", "group")
    assert (status, "false positives" in " ".join(said.split())) == (0, True)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xd8\xff\xe0" + bytes(60),
        "data:image/png;base64," + "iVBORw0KGgo" * 20,
        [[[0, 128, 255]] * 16] * 16,
    ],
    ids=["jpeg", "base64", "pixels"],
)
def test_harm_rule_6_no_media_enters(payload: object) -> None:
    assert value_problem(payload)
    kinds = {str(field.type) for field in SCHEMA}
    assert str(pa.binary()) not in kinds


def test_harm_rule_6_no_picture_in_a_note(analyst: Analyst) -> None:
    assert analyst("score", "--model", RUN, "--out", analyst.folder / "a.parquet")[0] == 0
    alert = json.loads(analyst("alerts", "--json")[1])[0]["alert"]
    picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ" * 8
    options = ("--disposition", "edd", "--role", "unknown", "--note", picture)
    status, _, err = analyst("act", alert, "decide", *options)
    assert (status, "--note: expected words" in err, picture in err) == (2, True, False)


def test_harm_rule_7_that_a_report_was_filed_is_itself_secret(analyst: Analyst) -> None:
    assert analyst("score", "--model", RUN, "--out", analyst.folder / "a.parquet")[0] == 0
    row = json.loads(analyst("alerts", "--json")[1])[0]
    options = ("--disposition", "file", "--role", "controller", "--note", "MARKER-NOTE")
    assert analyst("act", row["alert"], "decide", *options)[0] == 0
    assert (
        analyst("export", row["alert"], "--format", "goaml", "--out", analyst.folder / "r.xml")[0]
        == 0
    )
    assert analyst("labels", "--out", analyst.folder / "l.csv")[0] == 0
    for path in (
        *analyst.home.scoring.iterdir(),
        *(analyst.folder / n for n in ("r.xml", "l.csv")),
    ):
        assert path.stat().st_mode & 0o077 == 0, f"{path.name}: others can reach it"
    log = b"".join(path.read_bytes() for path in analyst.home.log_folder.iterdir())
    for secret in (row["alert"], row["unit"], "MARKER-NOTE", "controller"):
        assert secret.encode() not in log
    assert b"MARKER-NOTE" not in (analyst.folder / "r.xml").read_bytes()


def test_harm_rule_7_nothing_that_can_speak_to_the_network_knows_of_alerts() -> None:
    """What the custodian and the node are made of never reaches alerts, labels or tuned models."""
    outside = [name for name in CLIENT if not name.startswith(USING)]
    assert "client/custodian/release.py" in outside
    assert not [name for name in outside if USE.search(CLIENT[name])]
    # The settings name the alert budget; nothing else of the institution's processes does.
    processes = [name for name in CLIENT if name.endswith(
        ("daemon/process.py", "node/process.py", "institution/open.py", "institution.py",
         "client_app.py", "inbox.py")
    )]  # fmt: skip
    assert len(processes) >= 5
    assert not [name for name in processes if USE.search(CLIENT[name])]
    assert "disposition" not in inspect.signature(AlertStore.put).parameters
    processes = [name for name in CLIENT if name.endswith(
        ("daemon/process.py", "node/process.py", "institution/open.py", "institution.py",
         "client_app.py", "inbox.py")
    )]  # fmt: skip
    assert len(processes) >= 5
    assert not [name for name in processes if USE.search(CLIENT[name])]
