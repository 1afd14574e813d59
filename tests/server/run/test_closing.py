"""Heads are co-signed by whom they are shown to, and only by them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.federations.settings import BANKS, MakeSetting, Setting
from tests.support.runs.steps import open_federation

from fieldfare.server.run.closing import (
    LEFT_SECONDS,
    ComposedDelivery,
    RunCloser,
    keep_delivery,
    kept_delivery,
)
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.protocol.messages import NoSigner, open_envelope, sign_envelope
from fieldfare.shared.transcript.heads import CosignedHead
from fieldfare.shared.transcript.leaves import EndRecord

RUN = "run-1"
HASHES = {"model": "b" * 64, "file": "c" * 64, "card": "d" * 64}


@pytest.fixture
def setting(make_setting: MakeSetting) -> Setting:
    return make_setting(protection=Protection.EXACT)


@pytest.fixture
def store(tmp_path: Path, setting: Setting) -> Iterator[RunStore]:
    with run_store(tmp_path / "runs.sqlite") as opened:
        opened.create(RUN, setting.federation.study.id, datetime.now(UTC))
        yield opened


def closing_of(setting: Setting, store: RunStore) -> tuple[RunCloser, dict[str, int]]:
    channel = setting.channel()
    federation = open_federation(channel, setting.federation.job(RUN).terms)
    identities = setting.federation.identities
    closing = RunCloser(channel, store, identities.roster, identities.coordinator, 1.0)
    return closing, dict(federation.nodes)


def grow(store: RunStore, leaves: int) -> None:
    store.append(RUN, [EndRecord(state="stopped", reason=str(i)).leaf() for i in range(leaves)])


def test_everybody_signs_the_same_head_and_its_growth(setting: Setting, store: RunStore) -> None:
    closing, nodes = closing_of(setting, store)
    for leaves in (3, 4, 1):
        grow(store, leaves)
        head = closing.sign(setting.federation.study.id, RUN)
        assert closing.cosign(head, nodes) == frozenset(BANKS)
        for name, envelope in store.cosignatures(RUN).items():
            opened = open_envelope(envelope, CosignedHead, closing.roster, Protection.EXACT)
            assert (opened.signer, opened.body.head) == (name, head)
    assert closing.cosign(head, nodes) == frozenset(BANKS)  # asked again


def test_a_log_that_was_written_anew_is_not_signed(
    setting: Setting, store: RunStore, tmp_path: Path
) -> None:
    closing, nodes = closing_of(setting, store)
    grow(store, 5)
    closing.cosign(closing.sign(setting.federation.study.id, RUN), nodes)
    with run_store(tmp_path / "forged.sqlite") as forged:
        forged.create(RUN, setting.federation.study.id, datetime.now(UTC))
        forged.append(RUN, [EndRecord(state="failed", reason=str(i)).leaf() for i in range(9)])
        lying = RunCloser(closing.channel, forged, closing.roster, closing.signer, 1.0)
        assert not lying.cosign(lying.sign(setting.federation.study.id, RUN), nodes)
        assert not forged.cosignatures(RUN)


@pytest.mark.parametrize("lie", ["another head", "another signer", "rubbish"])
def test_what_is_no_signature_on_this_head_is_not_kept(
    setting: Setting, store: RunStore, lie: str
) -> None:
    signers = setting.federation.identities.signers

    def changed(answer: Any) -> Any:
        shown = open_envelope(
            answer, CosignedHead, setting.federation.identities.roster, Protection.EXACT
        )
        body = shown.body.model_copy(update={"size": 1, "root": "e" * 64})
        return {
            "another head": sign_envelope(body, "bank-a", signers["bank-a"]),
            "another signer": sign_envelope(shown.body, "bank-b", signers["bank-b"]),
            "rubbish": b"{}",
        }[lie]

    setting.bend("bank-a", cosign=changed)
    closing, nodes = closing_of(setting, store)
    grow(store, 2)
    signed = closing.cosign(closing.sign(setting.federation.study.id, RUN), nodes)
    assert signed == frozenset(BANKS) - {"bank-a"}
    assert "bank-a" not in store.cosignatures(RUN)


@dataclass
class Silent:
    """Nodes that never answer, and how long each was waited for."""

    waited: dict[int, float] = field(default_factory=dict)

    def ask(self, _: Call, contents: Mapping[int, Any], deadline_seconds: float) -> Any:
        self.waited |= dict.fromkeys(contents, deadline_seconds)
        return {}


def test_nobody_waits_long_for_who_left_the_run(
    setting: Setting, store: RunStore, tmp_path: Path
) -> None:
    closing, nodes = closing_of(setting, store)
    silent: Any = Silent()
    waiting = replace(closing, channel=silent, deadline_seconds=30.0, left=frozenset({"bank-d"}))
    expected = dict.fromkeys(nodes.values(), 30.0) | {nodes["bank-d"]: LEFT_SECONDS}
    grow(store, 1)
    assert not waiting.cosign(waiting.sign(setting.federation.study.id, RUN), nodes)
    assert silent.waited == expected
    silent.waited.clear()
    keep_delivery(tmp_path / "models" / RUN, composed())
    for name in BANKS:
        store.put_undelivered(name, RUN)
    waiting.deliver(nodes, lambda run: tmp_path / "models" / run)
    assert silent.waited == expected


def composed() -> ComposedDelivery:
    delivery = Delivery.model_validate({"study": "a" * 64, "run": RUN, **HASHES})
    return ComposedDelivery(
        delivery, sign_envelope(delivery, "coordinator", NoSigner()), b"model", b"card"
    )


def test_what_was_kept_is_what_is_sent(tmp_path: Path) -> None:
    keep_delivery(tmp_path / "models" / RUN, composed())
    assert kept_delivery(tmp_path / "models" / RUN) == {
        "delivery": composed().envelope,
        "model": b"model",
        "card": b"card",
    }
    assert (tmp_path / "models" / RUN).stat().st_mode & 0o777 == 0o700


def test_a_model_that_is_not_there_is_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="finished model"):
        kept_delivery(tmp_path / "models" / RUN)


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(RunError, match="resume"):
        keep_delivery(tmp_path / "models" / RUN, composed())


def test_what_an_institution_refuses_stays_undelivered(
    setting: Setting, store: RunStore, tmp_path: Path
) -> None:
    closing, nodes = closing_of(setting, store)
    keep_delivery(tmp_path / "models" / RUN, composed())  # signed by nobody: everybody refuses
    for name in BANKS:
        store.put_undelivered(name, RUN)
    closing.deliver(nodes, lambda run: tmp_path / "models" / run)
    assert all(store.undelivered(name) == (RUN,) for name in BANKS)
