"""A run is published with the heads that most witnesses signed, and with nothing else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.network.witnesses import SpecWitness

from fieldfare.server.store.store import RunStore
from fieldfare.server.upkeep.publication import log_key, publish, witnessed_heads
from fieldfare.server.upkeep.submission import ask_witness
from fieldfare.shared.errors import PolicyRefusal, UsageError
from fieldfare.shared.transcript.head_log import WitnessedHeads

Grow = Callable[..., None]


def require(keyed: KeyedCoordinator, *witnesses: SpecWitness, required: int, log: int = 1) -> None:
    named = "".join(
        f'[[witnesses.witness]]\nurl = "https://witness.example/"\nkey = "{one.key.text}"\n'
        for one in witnesses
    )
    text = keyed.home.settings.read_text()
    keyed.home.settings.write_text(
        f"{text}\n[witnesses]\nrequired = {required}\nlog = {log}\n{named}"
    )


def test_the_size_that_most_signed_is_chosen_and_then_the_smallest(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow
) -> None:
    origin = log_key(keyed.home).name
    one, two = (SpecWitness(f"w.example/{n}").knows(log_key(keyed.home)) for n in (1, 2))
    for run, asked in (("a", [one]), ("b", [one, two]), ("c", [one, two]), ("d", [])):
        grow(run)
        for witness in asked:
            assert not ask_witness(store, origin, witness.section, witness.post).trouble
    chosen = {run: witnessed_heads(store, origin, run) for run in "abcd"}
    assert {run: (len(heads.entries), n) for run, (heads, n) in chosen.items()} == {
        "a": (2, 2),  # at 1 only one had signed
        "b": (2, 2),
        "c": (3, 2),
        "d": (4, 0),
    }


def test_two_files_are_written(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow, tmp_path: Path
) -> None:
    grow("run-1", leaves=3)
    made = publish(keyed.home, store, "run-1", tmp_path / "public")
    assert sorted(one.name for one in (tmp_path / "public").iterdir()) == [
        "run.transcript",
        "run.witnessed",
    ]
    found = WitnessedHeads.from_bytes(made.heads.read_bytes())
    assert found.opened()[1].size == 1
    with pytest.raises(UsageError, match="existing one"):
        publish(keyed.home, store, "run-1", tmp_path / "public")


def test_what_is_published_is_on_the_disk_before_it_has_its_name(
    keyed: KeyedCoordinator,
    store: RunStore,
    grow: Grow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a power cut a name could lead to an empty transcript: nobody had asked the disk."""
    synced, real = list[int](), os.fsync

    def noted(descriptor: int) -> None:
        if not (tmp_path / "public").exists():
            synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    grow("run-1", leaves=3)
    publish(keyed.home, store, "run-1", tmp_path / "public")
    folder = tmp_path / "public"
    wanted = {path.stat().st_ino for path in (folder, *folder.iterdir())}
    assert wanted <= set(synced)


def test_too_few_witnesses_publish_nothing(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow, tmp_path: Path
) -> None:
    witness = SpecWitness().knows(log_key(keyed.home))
    require(keyed, witness, required=1)
    grow()
    with pytest.raises(PolicyRefusal, match="expected 1 witnesses of its end, found 0"):
        publish(keyed.home, store, "run-1", tmp_path / "public")
    assert not (tmp_path / "public").exists()
    assert not (tmp_path / "public.part").exists()
    ask_witness(store, log_key(keyed.home).name, witness.section, witness.post)
    assert publish(keyed.home, store, "run-1", tmp_path / "public").witnesses == 1


def test_a_witness_that_the_settings_name_no_more_is_not_counted(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow, tmp_path: Path
) -> None:
    former, present = (SpecWitness(f"w.example/{n}").knows(log_key(keyed.home)) for n in (1, 2))
    require(keyed, present, required=1)
    grow()
    origin = log_key(keyed.home).name
    assert not ask_witness(store, origin, former.section, former.post).trouble
    with pytest.raises(PolicyRefusal, match="found 0"):
        publish(keyed.home, store, "run-1", tmp_path / "public")
    assert not ask_witness(store, origin, present.section, present.post).trouble
    made = publish(keyed.home, store, "run-1", tmp_path / "public")
    assert (made.witnesses, "w.example/1" in made.heads.read_text()) == (1, False)


def test_a_witness_that_changed_its_key_signs_by_the_new_one(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow, tmp_path: Path
) -> None:
    """Lines were told apart by name: the key that the settings name no more still counted."""
    former, present = (SpecWitness("w.example").knows(log_key(keyed.home)) for _ in range(2))
    assert (former.key.name, former.key == present.key) == (present.key.name, False)
    require(keyed, present, required=1)
    grow()
    origin = log_key(keyed.home).name
    assert not ask_witness(store, origin, former.section, former.post).trouble
    with pytest.raises(PolicyRefusal, match="found 0"):
        publish(keyed.home, store, "run-1", tmp_path / "public")
    assert not ask_witness(store, origin, present.section, present.post).trouble
    made = publish(keyed.home, store, "run-1", tmp_path / "public")
    assert made.witnesses == 1
    assert made.heads.read_text().count("w.example") == 1


def test_what_a_user_has_beside_it_stays(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow, tmp_path: Path
) -> None:
    grow()
    own = tmp_path / "public.part"
    own.mkdir()
    (own / "mine").write_text("mine")
    publish(keyed.home, store, "run-1", tmp_path / "public")
    assert (own / "mine").read_text() == "mine"
    assert sorted(one.name for one in tmp_path.glob(".public*")) == []


def test_a_run_that_goes_on_is_not_published(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow, tmp_path: Path
) -> None:
    grow()
    store.append("run-1", store.leaves("run-1"))
    with pytest.raises(UsageError, match="signed to its end"):
        publish(keyed.home, store, "run-1", tmp_path / "public")
    assert list(tmp_path.glob("public*")) == []


def test_another_log_begins_empty(keyed: KeyedCoordinator, store: RunStore, grow: Grow) -> None:
    grow()
    first = log_key(keyed.home).name
    require(keyed, required=0, log=2)
    second = log_key(keyed.home).name
    assert second == f"{first}/2"
    grow()
    assert (store.head_log_size(first), store.head_log_size(second)) == (1, 1)
