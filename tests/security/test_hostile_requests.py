"""Whatever a coordinator or a member sends, nothing is given for it that was not agreed."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from flwr.app import Message
from numpy.typing import NDArray
from scipy.stats import chisquare
from tests.support.attacks.closing import HOSTILE
from tests.support.attacks.keys import low_order
from tests.support.federations.bench import (
    NAMES,
    STEPS,
    Bench,
    MakeBench,
    OpenedVector,
    Run,
    make_study,
    make_sums,
)

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.shared.errors import LedgerError, RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import RECORD
from fieldfare.shared.protocol.messages import (
    Commitment,
    Refusal,
    ReleaseKind,
    Reply,
    Request,
    open_envelope,
    parameters_hash,
    statements_hash,
)
from fieldfare.shared.protocol.plan import ReleaseTerms
from fieldfare.shared.ring import centre, encode
from fieldfare.shared.run.replay import add_words
from fieldfare.simulations.federation.federation import FIRST_NODE, LocalFederation

BROKEN_LEDGER: Final = Refusal(RefusalCode.LEDGER_UNAVAILABLE)
WIDE: Final[dict[str, Any]] = {
    "features": (
        {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10},
        {"name": "channel", "kind": "categorical", "levels": [f"c{i}" for i in range(500)]},
    )
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One federation for all rows; each row gets a run of its own."""
    study = make_study(privacy={"spare_releases": 1000}, evaluation={"spare_releases": 10})
    sums = {name: make_sums(study, 100, seed=index) for index, name in enumerate(NAMES)}
    folder = tmp_path_factory.mktemp("ledgers")
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder) as federation:
        yield Bench(federation, sums)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_call_is_refused_with_its_code_and_costs_nothing(
    name: str, shared: Bench, make_bench: MakeBench
) -> None:
    hostile = HOSTILE[name]
    bench = make_bench(make_study(**hostile.study)) if hostile.study else shared
    send = hostile.build(bench.open_run(), "bank-b")
    before = bench.ledger("bank-b").position()
    assert send() == Refusal(hostile.code)
    assert bench.ledger("bank-b").position() == before


@pytest.mark.parametrize(
    "point",
    [
        0,
        1,
        # order 8, twice, and p - 1 (RFC 7748 section 6.1; Bernstein, "Curve25519", 2006)
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
        2**255 - 20,
    ],
)
def test_a_key_of_small_order_is_refused(point: int, bench: Bench) -> None:
    """It would make the X25519 secret zero, whoever the other side is."""
    assert low_order(bench.open_run(), "bank-b", point)() == Refusal(RefusalCode.BAD_KEYS)


# -- repeats -----------------------------------------------------------------------------------


def test_the_same_request_gets_the_same_bytes_and_no_second_debit(bench: Bench) -> None:
    run = bench.open_run()
    request = run.request()
    first = run.answer("bank-b", request)
    position = bench.ledger("bank-b").position()
    run.answer("bank-b", run.request(step=1))
    assert [run.answer("bank-b", request) for _ in range(3)] == [first] * 3
    assert bench.ledger("bank-b").spent() == 2 * bench.plan.training.cost
    assert position.cumulative == bench.plan.training.cost


def test_a_new_attempt_has_fresh_noise_a_fresh_mask_and_its_own_debit(bench: Bench) -> None:
    run = bench.open_run()
    first = run.answer("bank-b", run.request(attempt=0))
    second = run.answer("bank-b", run.request(attempt=1))
    assert first.vector != second.vector
    assert bench.ledger("bank-b").spent() == 2 * bench.plan.training.cost


def test_runs_of_a_study_share_its_budget(make_bench: MakeBench) -> None:
    bench = make_bench(make_study(privacy={"spare_releases": 1}, evaluation={"spare_releases": 0}))
    spent = bench.plan.study_limit // bench.plan.training.cost
    runs = (bench.open_run() for _ in range(2 * spent))  # one after the other: keys of few are held
    answers = [run.ask("bank-b", run.request()) for run in runs]
    assert sum(isinstance(answer, OpenedVector) for answer in answers) == spent
    assert set(answers[spent:]) == {Refusal(RefusalCode.BUDGET_EXHAUSTED)}
    assert bench.ledger("bank-b").spent() <= bench.plan.study_limit


# -- what a coordinator sees ---------------------------------------------------------------------


def masked(run: Run, requests: Mapping[str, Request], contents: Mapping[str, bytes]) -> list[bytes]:
    """What each lets out where all others collude, with the seed off."""
    terms, found = run.bench.plan.training, []
    for name, request in requests.items():
        one = run.alone(name, request, contents[name])
        assert isinstance(one, OpenedVector), one
        words = add_words([one.vector], terms.word_bits, terms.vectors.entries, [one.seed])
        found.append(encode(words, terms.word_bits))
    return found


def decoded(vectors: list[bytes], terms: ReleaseTerms) -> NDArray[np.float64]:
    total = add_words(vectors, terms.word_bits, terms.vectors.entries)
    return np.ldexp(centre(total, terms.word_bits).astype(np.float64), -terms.vectors.gamma_bits)


def looks_uniform(vectors: list[bytes]) -> bool:
    """Chi-square over bytes; no cut-off that a fair coin would reach in a lifetime."""
    counts = np.bincount(np.frombuffer(b"".join(vectors), dtype=np.uint8), minlength=256)
    return bool(chisquare(counts).pvalue > 1e-10)


def test_only_the_sum_of_everybody_means_anything(make_bench: MakeBench) -> None:
    study = make_study(**WIDE)
    bench = make_bench(study)
    run, terms = bench.open_run(), bench.plan.training
    content = bench.parameters()
    requests = dict.fromkeys(NAMES, run.request())
    vectors = masked(run, requests, dict.fromkeys(NAMES, content))

    total = decoded(vectors, terms)
    values = np.frombuffer(content)
    exact = sum(part.vector(terms.kind, values) for part in bench.sums.values()) * terms.gamma
    assert np.abs(total - exact).max() < 8 * terms.sigma
    for left_out in range(len(vectors)):
        others = vectors[:left_out] + vectors[left_out + 1 :]
        assert looks_uniform([vectors[left_out]])
        assert np.abs(decoded(others, terms)).max() > 1000 * terms.largest_entry
    unmasked = terms.word_bits.dtype.type(total[0]).tobytes() * len(total)
    assert not looks_uniform([unmasked])


@pytest.fixture
def large_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums too large to be sent again: nobody recomputes, and only the masks are left."""
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", 0)


@pytest.mark.usefixtures("large_sums")
def test_institutions_that_are_shown_different_parameters_sum_to_nonsense(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(make_study(**WIDE))
    run, terms = bench.open_run(), bench.plan.training
    contents = {name: bench.parameters() for name in NAMES}
    contents["bank-c"] = bench.parameters(bias=5.0)
    requests = {name: run.request(parameters=contents[name]) for name in NAMES}
    vectors = masked(run, requests, contents)
    assert all(looks_uniform([vector]) for vector in vectors)
    assert np.abs(decoded(vectors, terms)).max() > 1000 * terms.largest_entry


@dataclass
class TwoFaced:
    """On the wire to one institution: shows it other parameters, and signs its answers anew.

    That takes the coordinator's key, and everybody's own for the commitments that it is shown: no
    check is left but the sum.
    """

    bench: Bench
    victim: str
    knows_its_key: bool = True
    asked: dict[str, str] = field(default_factory=dict)
    own: dict[str, bytes] = field(default_factory=dict)  # its commitments, by what it was asked
    listed: str = ""  # the hash of L, as the coordinator knows it

    def __call__(self, message: Message) -> None:
        record: Any = message.content[RECORD]
        node = FIRST_NODE + self.bench.names.index(self.victim)
        if "request" in record and message.metadata.dst_node_id == node:
            self._ask(record)
        if message.metadata.src_node_id == node and self.knows_its_key:
            self._sign(record)

    def _ask(self, record: Any) -> None:
        party = self.bench.party(self.victim)
        request = open_envelope(record["request"], Request, party.roster, party.protection).body
        other = self.bench.parameters(bias=5.0)
        changed = request.model_copy(update={"parameters": parameters_hash(other)})
        if request.kind is not ReleaseKind.TRAINING:
            return
        self.asked[changed.hash] = request.hash
        record["request"] = self.bench.sign(changed)
        if "parameters" in record:
            record["parameters"] = other
            return
        self.listed = statements_hash(record["statements"])
        record["statements"] = [
            self.own[changed.hash] if name == self.victim else self._resigned(name, one, changed)
            for name, one in zip(self.bench.names, record["statements"], strict=True)
        ]

    def _resigned(self, name: str, envelope: bytes, asked: Request) -> bytes:
        party = self.bench.party(name)
        body = open_envelope(envelope, Commitment, party.roster, party.protection).body
        return party.sign(body.model_copy(update={"request": asked.hash}))

    def _sign(self, record: Any) -> None:
        party = self.bench.party(self.victim)
        kinds: dict[str, type[Commitment | Reply]] = {"commitment": Commitment, "reply": Reply}
        for kind, body in kinds.items():
            if kind not in record:
                continue
            found = open_envelope(record[kind], body, party.roster, party.protection).body
            if found.request not in self.asked:
                continue
            changes = {"request": self.asked[found.request]}
            if kind == "commitment":
                self.own[found.request] = record[kind]
            else:
                changes["statements"] = self.listed
            record[kind] = party.sign(found.model_copy(update=changes))


@pytest.mark.usefixtures("large_sums")
def test_a_sum_over_different_parameters_stops_the_run(bench: Bench) -> None:
    tap = TwoFaced(bench, "bank-c")
    with pytest.raises(RunError, match=r"training step 0: expected a sum within .* out of range"):
        bench.federation.run(bench.federation.job(), bench.federation.grid(tap=tap))
    assert tap.asked


@pytest.mark.usefixtures("large_sums")
def test_a_reply_to_other_parameters_is_no_answer(bench: Bench) -> None:
    """Without the victim's key the coordinator sees which institution was misled, and goes on."""
    tap = TwoFaced(bench, "bank-c", knows_its_key=False)
    outcome = bench.federation.run(bench.federation.job(), bench.federation.grid(tap=tap))
    assert outcome.participants == ("bank-a", "bank-b", "bank-d")


@pytest.mark.parametrize("knows_its_key", [False, True])
def test_an_institution_that_recomputes_is_not_misled(bench: Bench, *, knows_its_key: bool) -> None:
    """It answers for the parameters that follow from the last sum, and for no others."""
    tap = TwoFaced(bench, "bank-c", knows_its_key)
    outcome = bench.federation.run(bench.federation.job(), bench.federation.grid(tap=tap))
    assert tap.asked
    assert outcome.participants == ("bank-a", "bank-b", "bank-d")
    assert bench.ledger("bank-c").position().sequence == 0


@dataclass(frozen=True)
class Poison:
    """Unit sums beyond anything that units could add up to."""

    entries: int

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:  # noqa: ARG002
        return np.full(self.entries, 2**50, dtype=np.int64)

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError


def test_a_sum_out_of_range_stops_the_run(make_bench: MakeBench) -> None:
    study = make_study()
    sums = {name: make_sums(study, 100, seed=i) for i, name in enumerate(NAMES)}
    sums["bank-d"] = replace(sums["bank-d"], training=Poison(study_entries(sums["bank-d"])))
    bench = make_bench(study, sums)
    with pytest.raises(RunError, match="out of range"):
        bench.federation.run(bench.federation.job())
    assert bench.ledger("bank-a").spent() == bench.plan.training.cost


def study_entries(sums: Any) -> int:
    return int(sums.model.vectors.entries)


# -- ledgers that cannot be trusted ------------------------------------------------------------


def test_a_locked_ledger_gives_nothing_and_costs_nothing(bench: Bench) -> None:
    bench.restart("bank-b", busy_timeout=0.05)
    run = bench.open_run()
    hold = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE');"
        " print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(bench.path("bank-b"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert run.ask("bank-b", run.request()) == BROKEN_LEDGER
        holder.communicate("\n")
    assert bench.ledger("bank-b").spent() == 0
    run.answer("bank-b", run.request())


def test_a_ledger_that_turns_read_only_gives_nothing(bench: Bench) -> None:
    run = bench.open_run()
    first = run.answer("bank-b", run.request())
    database = bench.ledger("bank-b")._database
    database.rows("PRAGMA query_only = ON")
    assert run.ask("bank-b", run.request(step=1)) == BROKEN_LEDGER
    assert run.answer("bank-b", run.request()) == first
    database.rows("PRAGMA query_only = OFF")
    run.answer("bank-b", run.request(step=1))


def test_a_read_only_ledger_is_refused_at_start(bench: Bench) -> None:
    bench.path("bank-b").chmod(0o400)
    with pytest.raises(LedgerError, match="writable"):
        bench.restart("bank-b")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_ledger_is_refused_at_start(share: float, bench: Bench) -> None:
    run = bench.open_run()
    for step in range(STEPS):
        run.answer("bank-b", run.request(step=step))
    bench.ledger("bank-b").close()
    path = bench.path("bank-b")
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share) & ~4095)
    with pytest.raises(LedgerError):
        bench.restart("bank-b")


@pytest.mark.parametrize("pages", [0, 1, 5, 20])
def test_a_ledger_that_is_cut_while_it_works_loses_no_debit(pages: int, bench: Bench) -> None:
    """What was read before may still be answered from; afterwards it counts all or refuses."""
    run = bench.open_run()
    run.answer("bank-b", run.request())
    second = run.request(step=1)
    with bench.path("bank-b").open("r+b") as file:
        file.truncate(4096 * pages)
    answered = 1 + isinstance(run.ask("bank-b", second), OpenedVector)
    spent = None
    with contextlib.suppress(LedgerError):
        bench.restart("bank-b")
        spent = bench.ledger("bank-b").spent()
    assert spent in {None, answered * bench.plan.training.cost}


def copies(bench: Bench, name: str) -> list[Path]:
    path = bench.path(name)
    return [path, path.with_name(path.name + ".witness")]


def back_up(bench: Bench, name: str, folder: Path) -> None:
    """Copy a ledger as a careful administrator would: closed, with its witness."""
    bench.restart(name)  # closing moves the log into the file
    folder.mkdir()
    for file in copies(bench, name):
        shutil.copy2(file, folder)


def restore(bench: Bench, name: str, folder: Path, *, witness: bool) -> None:
    bench.ledger(name).close()
    for file in copies(bench, name)[: 2 if witness else 1]:
        shutil.copy2(folder / file.name, file)


def test_an_older_copy_is_found_through_the_witness(bench: Bench, tmp_path: Path) -> None:
    back_up(bench, "bank-b", tmp_path / "old")
    run = bench.open_run()
    run.answer("bank-b", run.request())
    restore(bench, "bank-b", tmp_path / "old", witness=False)
    with pytest.raises(LedgerError, match="restored from an older copy"):
        bench.restart("bank-b")


def test_an_older_copy_with_its_witness_is_found_through_the_last_signed_reply(
    bench: Bench, tmp_path: Path
) -> None:
    run = bench.open_run()
    run.last(1)  # everybody answers step 0
    back_up(bench, "bank-b", tmp_path / "old")
    run.open_anew()
    last = run.answer("bank-b", run.request(step=1)).reply
    back_up(bench, "bank-b", tmp_path / "new")
    custodian = bench.custodian("bank-b")
    assert isinstance(custodian.describe(bench.study.id, last), HelloAnswer)

    restore(bench, "bank-b", tmp_path / "old", witness=True)
    assert bench.restart("bank-b").describe(bench.study.id, last) == BROKEN_LEDGER
    # Once it knows, it does not work at all, under whatever opening: its totals are old, and it
    # would spend once more what was spent.
    for _ in range(2):
        assert bench.custodian("bank-b").describe(bench.study.id) == BROKEN_LEDGER
        assert run.ask("bank-b", run.request(step=1)) == BROKEN_LEDGER
        assert run.ask("bank-b", run.request()) == BROKEN_LEDGER
        bench.restart("bank-b")
    outcome = bench.federation.run(bench.federation.job())
    assert outcome.participants == ("bank-a", "bank-c", "bank-d")

    restore(bench, "bank-b", tmp_path / "new", witness=True)
    custodian = bench.restart("bank-b")
    assert isinstance(custodian.describe(bench.study.id, last), HelloAnswer)
    assert run.answer("bank-b", run.request(step=1)).reply == last


def test_a_replica_of_the_database_alone_cannot_be_started(bench: Bench, tmp_path: Path) -> None:
    """A copy without its witness is a ledger that nobody watches."""
    run = bench.open_run()
    run.answer("bank-b", run.request())
    bench.ledger("bank-b").close()
    copies(bench, "bank-b")[1].unlink()
    with pytest.raises(LedgerError, match="witness"):
        bench.restart("bank-b")


def test_an_entry_that_was_changed_is_found(bench: Bench) -> None:
    run = bench.open_run()
    run.answer("bank-b", run.request())
    bench.ledger("bank-b").close()
    with sqlite3.connect(bench.path("bank-b")) as connection:
        connection.execute("DROP TRIGGER entries_UPDATE")
        connection.execute("UPDATE entries SET cost = 1, cumulative = 1, study_total = 1")
    connection.close()
    with pytest.raises(LedgerError, match="the ledger was changed"):
        bench.restart("bank-b")
