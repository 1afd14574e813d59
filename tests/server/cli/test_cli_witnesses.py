"""`coordinator witnesses` and `publish`, and the audit of what they wrote, as people type them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator, said
from tests.support.network.receivers import web_server
from tests.support.network.witnesses import SpecWitness

from fieldfare.server.store.rows import RunStatus
from fieldfare.server.upkeep.publication import log_key
from fieldfare.shared.transcript.leaves import EndRecord

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def signed(keyed: KeyedCoordinator) -> KeyedCoordinator:
    with keyed.store() as store:
        store.create("run-1", keyed.study.id, datetime.now(UTC))
        store.append("run-1", [EndRecord(state="stopped", reason="").leaf()])
        keyed.head_signer.sign(store, keyed.study.id, "run-1", store.leaf_hashes("run-1"))
        store.set_state("run-1", RunStatus.STOPPED, "", datetime.now(UTC))
    return keyed


def name(keyed: KeyedCoordinator, witness: SpecWitness, url: str) -> None:
    text = keyed.home.settings.read_text()
    keyed.home.settings.write_text(
        f"{text}\n[witnesses]\nrequired = 1\n[[witnesses.witness]]\n"
        f'url = "{url}"\nkey = "{witness.key.text}"\n'
    )


def test_without_witnesses_the_key_is_shown(signed: KeyedCoordinator, capsys: Captured) -> None:
    assert signed.command("witnesses", "--json") == 0
    key = log_key(signed.home)
    assert said(capsys) == {"log": key.name, "key": key.text, "heads": 1, "witnesses": []}
    assert signed.command("witnesses") == 0
    shown = capsys.readouterr().out
    assert "none: name them under [witnesses]" in shown
    assert {key.name, key.text} <= set(shown.splitlines())  # whole, to be copied


def test_of_a_log_without_heads_nobody_signed_anything(
    keyed: KeyedCoordinator, capsys: Captured
) -> None:
    name(keyed, SpecWitness(), "http://127.0.0.1:9/")
    assert keyed.command("witnesses") == 0
    shown = capsys.readouterr().out
    assert "has nothing to sign yet" in shown
    assert "signed all" not in shown


def test_a_witness_is_asked_and_the_run_published(
    signed: KeyedCoordinator, capsys: Captured, tmp_path: Path
) -> None:
    witness = SpecWitness().knows(log_key(signed.home))
    with web_server() as hook:

        def answer() -> None:
            found = witness.post("https://witness.example/add-checkpoint", hook.posted[-1][2])
            hook.status, hook.body = found.status, found.content

        hook.before = answer
        name(signed, witness, f"http://127.0.0.1:{hook.port}/")
        out = tmp_path / "public"
        assert signed.command("publish", "run-1", "--out", str(out)) == 3
        assert "expected 1 witnesses of its end, found 0" in capsys.readouterr().err
        assert signed.command("witnesses") == 0
        assert "signed the first 0 heads" in capsys.readouterr().out
        assert signed.command("witnesses", "--ask") == 0
        assert "signed all of it" in capsys.readouterr().out
        assert signed.command("publish", "run-1", "--out", str(out), "--json") == 0
        assert said(capsys)["witnesses"] == 1
    assert signed.command("witnesses", "--ask", "--json") == 0  # nothing is lacking
    assert said(capsys)["witnesses"][0]["trouble"] is None


def test_a_witness_that_does_not_answer_is_said(signed: KeyedCoordinator, capsys: Captured) -> None:
    with web_server() as hook:
        pass  # nobody listens there now
    name(signed, SpecWitness(), f"http://127.0.0.1:{hook.port}/")
    assert signed.command("witnesses", "--ask") == 1
    assert "no connection" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("required = 1\n", "required: expected at most the 0 witnesses"),
        ('[[witnesses.witness]]\nurl = "https://w.example/"\nkey = "x"\n', "verifier key"),
        ('[[witnesses.witness]]\nurl = "http://w.example/"\nkey = "{key}"\n', "expected https"),
        ('[[witnesses.witness]]\nurl = "https://w.example/"\nkey = "{key}"\n' * 2, "one twice"),
    ],
)
def test_mistakes_in_the_settings_are_named(
    keyed: KeyedCoordinator, capsys: Captured, lines: str, reason: str
) -> None:
    lines = lines.replace("{key}", SpecWitness().key.text)
    text = keyed.home.settings.read_text()
    keyed.home.settings.write_text(f"{text}\n[witnesses]\n{lines}")
    assert keyed.command("witnesses") == 2
    assert reason in " ".join(capsys.readouterr().err.split())
