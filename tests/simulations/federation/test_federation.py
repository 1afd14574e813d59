"""A whole federation in one process, exact or simulated, and what each of the two leaves behind."""

from pathlib import Path

import numpy as np
import pytest
from tests.simulations.conftest import BANKS, SimulationFolder

from fieldfare.client.records import read_records
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.record import Record
from fieldfare.shared.errors import LedgerError, RunError, StudyError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise, SimulatedNoise
from fieldfare.shared.protocol.messages import IdentitySigner, NoSigner
from fieldfare.simulations.federation.federation import (
    Identities,
    LocalFederation,
    holdout_key,
    noise_source,
)

EXACT, SIMULATED = Protection.EXACT, Protection.SIMULATED


@pytest.fixture
def parts(work: SimulationFolder) -> dict[str, StudySums]:
    study = work.write_study()
    records = read_records([work.records_file], study, institution_column="bank")
    assert records.institutions is not None
    held = np.arange(len(records)) % 5 == 0
    chosen = {name: records.institutions == name for name in BANKS}
    return {
        name: StudySums.prepare(study, records.data.select(own), held[own])
        for name, own in chosen.items()
    }


def model_of(
    parts: dict[str, StudySums], protection: Protection, *, seed: int, folder: Path | None = None
) -> bytes:
    study = next(iter(parts.values())).study
    with LocalFederation(study, parts, protection, seed=seed, directory=folder) as federation:
        outcome = federation.run(federation.job())
    assert outcome.participants == BANKS
    return outcome.parameters.tobytes()


def test_simulated_noise_follows_the_seed(parts: dict[str, StudySums]) -> None:
    one, same, other = (model_of(parts, SIMULATED, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_exact_noise_follows_no_seed(parts: dict[str, StudySums], tmp_path: Path) -> None:
    models = set()
    for run in range(2):
        folder = tmp_path / str(run)
        folder.mkdir()
        models.add(model_of(parts, EXACT, seed=0, folder=folder))
    assert len(models) == 2


def test_exact_keeps_ledgers_on_disk(parts: dict[str, StudySums], tmp_path: Path) -> None:
    study = parts["bank-a"].study
    with LocalFederation(study, parts, EXACT, seed=0, directory=tmp_path) as federation:
        federation.run(federation.job("a-run"))
        names = {path.name for path in tmp_path.iterdir()}
        spent = {name: ledger.spent() for name, ledger in federation.ledgers.items()}
    assert {f"ledger-{i}.sqlite" for i in range(3)} <= names
    assert len(set(spent.values())) == 1
    assert 0 < spent["bank-a"] <= federation.plan.study_limit


def test_simulated_ledgers_are_in_memory(parts: dict[str, StudySums], tmp_path: Path) -> None:
    study, folder = parts["bank-a"].study, tmp_path / "runs"
    folder.mkdir()
    with LocalFederation(study, parts, SIMULATED, seed=0, directory=folder) as federation:
        federation.run(federation.job("a-run"))
        assert federation.ledgers["bank-a"].spent() > 0  # debited all the same
    assert list(folder.iterdir()) == []


def test_exact_ledgers_need_a_directory(parts: dict[str, StudySums]) -> None:
    study = parts["bank-a"].study
    with pytest.raises(RunError, match="expected a directory for the ledgers"):
        LocalFederation(study, parts, EXACT, seed=0)


def test_a_simulated_run_is_not_kept(parts: dict[str, StudySums]) -> None:
    """It is started again, not resumed."""
    study = parts["bank-a"].study
    with LocalFederation(study, parts, SIMULATED, seed=0) as federation:
        assert federation.job().record == Record()


def test_closing_a_federation_closes_its_ledgers(
    parts: dict[str, StudySums], tmp_path: Path
) -> None:
    study = parts["bank-a"].study
    with LocalFederation(study, parts, EXACT, seed=0, directory=tmp_path) as federation:
        ledger = federation.ledgers["bank-b"]
        assert ledger.position().sequence == 0
    with pytest.raises(LedgerError):
        ledger.position()


def test_runs_have_names_of_their_own(parts: dict[str, StudySums]) -> None:
    study = parts["bank-a"].study
    with LocalFederation(study, parts, SIMULATED, seed=0) as federation:
        runs = {federation.job().terms.run for _ in range(3)}
        assert len(runs) == 3
        assert federation.job("given").terms.run == "given"


def test_a_second_run_of_a_study_has_only_the_rest_of_its_budget(
    parts: dict[str, StudySums],
) -> None:
    """Runs of a study share its epsilon (docs/design.md, "The study"): the second ends."""
    study = parts["bank-a"].study
    with LocalFederation(study, parts, SIMULATED, seed=0) as federation:
        federation.run(federation.job("one"))
        with pytest.raises(RunError, match="budget_exhausted"):
            federation.run(federation.job("two"))
        limit = federation.plan.study_limit
        assert all(ledger.spent() <= limit for ledger in federation.ledgers.values())


def test_sums_of_another_study_are_not_accepted(
    work: SimulationFolder, parts: dict[str, StudySums]
) -> None:
    other = work.write_study(training={"steps": "7"})
    with pytest.raises(StudyError):
        LocalFederation(other, parts, SIMULATED, seed=0)


def test_exact_identities_are_keys_and_simulated_ones_are_none() -> None:
    exact = Identities.make(["b", "a"], 2, EXACT)
    assert exact.roster.ids == ("a", "b")
    assert exact.roster.multiplicity == 2
    keys = [exact.roster.coordinator, *(member.key for member in exact.roster.members)]
    assert len(set(keys)) == 3
    assert all(isinstance(signer, IdentitySigner) for signer in exact.signers.values())
    for name, signer in (*exact.signers.items(), ("coordinator", exact.coordinator)):
        exact.roster.verify(name, signer.sign(b"content"), b"content")
    simulated = Identities.make(["b", "a"], 1, SIMULATED)
    assert simulated.roster.coordinator == ""
    assert {member.key for member in simulated.roster.members} == {""}
    assert all(isinstance(signer, NoSigner) for signer in simulated.signers.values())


def test_noise_is_of_the_kind_that_was_chosen() -> None:
    assert isinstance(noise_source(EXACT, seed=1, stream=0), ExactNoise)
    simulated = [noise_source(SIMULATED, seed=1, stream=stream) for stream in (0, 0, 1)]
    assert all(isinstance(noise, SimulatedNoise) for noise in simulated)
    draws = [noise.sample(50, 1000.0).tolist() for noise in simulated]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]  # institutions do not share their noise


def test_the_hold_out_key_follows_the_seed() -> None:
    keys = {holdout_key(seed) for seed in (0, 1, 2, 2**63 - 1)}
    assert len(keys) == 4
    assert holdout_key(1) == holdout_key(1)
    assert all(len(key) == 64 for key in keys)


def test_nodes_are_numbered_in_the_order_of_names(parts: dict[str, StudySums]) -> None:
    study = parts["bank-a"].study
    with LocalFederation(study, parts, SIMULATED, seed=0) as federation:
        assert federation.grid().get_node_ids() == [101, 102, 103]
