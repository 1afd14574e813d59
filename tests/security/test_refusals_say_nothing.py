"""A refusal is no answer: the same to whoever asks, whatever records are behind it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.attacks.closing import HOSTILE
from tests.support.federations.bench import STEPS, Bench, MakeBench, make_study, make_sums
from tests.support.homes.institutions import NAMES, Coordinator, approve_all, clock, home_study
from tests.support.network.calling import question
from tests.support.records.odd_records import SOURCES, Row, texts
from tests.support.rows import one_of_each, partly

from fieldfare.client.approvals.approval import resume
from fieldfare.client.custodian.answering import answer
from fieldfare.client.institution.open import Custody, LoadedSums, open_custody, records_loader
from fieldfare.client.node.client_app import decode_answer
from fieldfare.client.records.encoding.problems import FailedRowsError
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.client.wire.calls import CALLS
from fieldfare.client.wire.frames import encode
from fieldfare.shared.errors import PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import REFUSAL, Call
from fieldfare.shared.protocol.messages import Refusal, ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.federation import LocalFederation

# bank-a: like any other; bank-b: nobody; bank-c: one class; bank-d: one unit.
DATABASES: Final[Mapping[str, Callable[[Study], StudySums]]] = {
    "bank-a": lambda study: make_sums(study, 200),
    "bank-b": lambda study: make_sums(study, 0),
    "bank-c": lambda study: make_sums(study, 50, label=1),
    "bank-d": lambda study: make_sums(study, 1),
}


MODES: Final = ({"steps": STEPS}, {"mode": "local", "steps": STEPS, "local_steps": 3})


def databases(study: Study) -> dict[str, StudySums]:
    return {name: make(study) for name, make in DATABASES.items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One federation for all rows; each row gets runs of its own."""
    study = make_study(privacy={"spare_releases": 1000}, evaluation={"spare_releases": 10})
    sums = databases(study)
    folder = tmp_path_factory.mktemp("ledgers")
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder) as federation:
        yield Bench(federation, sums)


@pytest.mark.parametrize("row", one_of_each(HOSTILE, lambda row: HOSTILE[row].code))
def test_different_databases_refuse_with_the_same_bytes(
    row: str, shared: Bench, make_bench: MakeBench
) -> None:
    hostile, bench = HOSTILE[row], shared
    if hostile.study:
        study = make_study(**hostile.study)
        bench = make_bench(study, databases(study))
    run = bench.open_run()
    answers = [hostile.build(replace(run, tag=name), name)() for name in bench.names]
    found = {answer.to_bytes() for answer in answers if isinstance(answer, Refusal)}
    assert found == {Refusal(hostile.code).to_bytes()}
    assert all(isinstance(answer, Refusal) for answer in answers)


@pytest.mark.parametrize("training", MODES)
def test_good_requests_are_answered_with_equal_lengths(
    training: dict[str, Any], make_bench: MakeBench
) -> None:
    study = make_study(training=training)
    bench = make_bench(study, databases(study))
    run = bench.open_run()
    places = [
        (ReleaseKind.REHEARSAL, 0),
        *((ReleaseKind.TRAINING, step) for step in range(STEPS)),
        (ReleaseKind.EVALUATION, STEPS),
    ]
    for place in places:
        request = run.request(*place)
        answers = [run.answer(name, request) for name in bench.names]
        assert len({len(answer.vector) for answer in answers}) == 1
        assert len({len(answer.reply) for answer in answers}) == 1


@pytest.mark.parametrize("value", [1e4, -1e4, 0.0, 5e-324])
@pytest.mark.parametrize("training", MODES)
def test_the_largest_parameters_are_answered_whatever_the_records(
    value: float,
    training: dict[str, Any],
    make_bench: MakeBench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scores that overflow, all at once, are still nobody's reason to refuse.

    Where sums are too large to be sent again, parameters are of the coordinator's choice.
    """
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", 0)
    study = make_study(training=training)
    bench = make_bench(study, databases(study))
    run = bench.open_run()
    content = parameters_to_bytes(np.full(bench.plan.training.parameter_entries, value))
    for kind, step in ((ReleaseKind.TRAINING, 0), (ReleaseKind.EVALUATION, STEPS)):
        run.everybody(run.request(kind, step, parameters=content))


def test_hello_openings_and_offers_have_equal_lengths(make_bench: MakeBench) -> None:
    study = make_study()
    bench = make_bench(study, databases(study))
    hellos = [bench.described(name, "r", "1" * 64) for name in bench.names]
    assert len({(len(hello.approval), len(hello.answer)) for hello in hellos}) == 1


@pytest.mark.parametrize("protection", Protection)
@pytest.mark.parametrize("training", MODES)
def test_institutions_without_units_classes_or_company_take_part_in_a_whole_run(
    protection: Protection, training: dict[str, Any], tmp_path: Path
) -> None:
    study = make_study(training=training)
    sums = databases(study)
    with LocalFederation(study, sums, protection, seed=3, directory=tmp_path) as federation:
        outcome = federation.run(federation.job())
    assert outcome.participants == tuple(DATABASES)
    assert np.isfinite(outcome.parameters).all()
    planned = max(STEPS * federation.plan.training.cost, federation.plan.evaluation.cost)
    assert (outcome.spent, outcome.attempts) == (planned, 0)


def test_a_federation_of_nobody_runs_and_measures_nothing(tmp_path: Path) -> None:
    study = make_study(privacy={"epsilon": 50.0})
    sums = {name: make_sums(study, 0) for name in DATABASES}
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=tmp_path) as federation:
        outcome = federation.run(federation.job())
    assert np.isfinite(outcome.parameters).all()


class _Fussy:
    """Sums that refuse when there is nobody: what a custodian must never be."""

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        raise PolicyRefusal(RefusalCode.NOT_IN_PLAN, f"units expected for {len(parameters)}")

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError


def test_a_refusal_that_depends_on_records_would_be_seen(make_bench: MakeBench) -> None:
    study = make_study()
    sums = databases(study)
    sums["bank-b"] = replace(sums["bank-b"], training=_Fussy())
    bench = make_bench(study, sums)
    run = bench.open_run()
    answers = [run.ask(name, run.request()) for name in bench.names]
    assert [isinstance(answer, Refusal) for answer in answers] == [False, True, False, False]


# -- loads: what stands in records decides nothing at approval, at a restart, at hello ---------

MISSING_LABEL: Final = "2"
SPARE: Final = 500  # every restart opens runs of its own
# One of a kind each: signatures, participants, parameters, order of steps.
BAD_REQUESTS: Final = (
    "a request signed by a member",
    "two participants",
    "too few parameters",
    "another R for an answered attempt",
    "a rehearsal after step 0",
)


class Homes(LocalFederation):
    """Custodians of real homes, where a bench expects those of a federation in one process."""

    def __init__(
        self, coordinator: Coordinator, study: Study, custodies: Mapping[str, Custody]
    ) -> None:
        self.study, self.protection, self.plan = study, Protection.EXACT, plan_for(study)
        self.custodians = {name: custody.custodian for name, custody in custodies.items()}
        self.ledgers = {name: custody.ledger for name, custody in custodies.items()}
        signers = {name: custody.party.signer for name, custody in custodies.items()}
        made: Any = SimpleNamespace(
            roster=coordinator.roster(),
            signers=signers,
            coordinator=coordinator.signer,
            roster_key=coordinator.roster_signer,
        )
        self.identities = made


@dataclass
class Deployed:
    """Three homes that approved a study over their first records."""

    coordinator: Coordinator
    study: Study
    approvals: Mapping[str, bytes]
    rows: list[str]  # of the first home

    def restarted(self, rows: list[str]) -> AbstractContextManager[Bench]:
        """Start every custodian anew, the first over other rows; whatever they are, it serves."""
        home = self.coordinator.homes[NAMES[0]]
        content = [self.rows[0], *rows, ""]
        (home.path / "records.csv").write_bytes(
            b"\n".join(row.encode("utf-8", "surrogateescape") for row in content)
        )
        return self._started()

    @contextmanager
    def restarted_over(self, source: str, rows: Sequence[Row]) -> Iterator[Bench]:
        """Do the same with the first one's rows in another kind of source."""
        home = self.coordinator.homes[NAMES[0]]
        path = SOURCES[source](home.path, rows, self.rows[0].split(","))
        before = home.settings.read_text()
        self.coordinator.edit(home.settings, 'path = "records.csv"', f'path = "{path}"')
        with self._started() as bench:
            yield bench
        home.settings.write_text(before)

    @contextmanager
    def _started(self) -> Iterator[Bench]:
        with ExitStack() as stack:
            custodies = {}
            for name in NAMES:
                custody = stack.enter_context(
                    open_custody(self.coordinator.institution(name), None, clock)
                )
                left_out = resume(custody, records_loader(custody.institution, {}))
                assert left_out == (), left_out
                custodies[name] = custody
            yield Bench(Homes(self.coordinator, self.study, custodies), {})


def described(custody_or_bench: Any, study: Study, offer: bytes = b"") -> bytes:
    """The frame that `hello` is answered with."""
    frame = question(Call.HELLO, {"study": study.id, "last_reply": b"", "offer": offer})
    return answer(custody_or_bench, Call.HELLO, frame)


def refused(code: RefusalCode) -> bytes:
    """The frame of a refusal that `hello` is answered with."""
    return encode(CALLS[Call.HELLO].refused, {REFUSAL: Refusal(code).to_bytes()})


@contextmanager
def three_homes() -> Iterator[Coordinator]:
    with TemporaryDirectory(prefix="ff-") as folder:
        coordinator = Coordinator(Path(folder))
        for name in NAMES:
            coordinator.found(name)
        coordinator.pin()
        coordinator.compare()
        yield coordinator


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    study = home_study(
        records__missing=["", MISSING_LABEL],
        records__unit="customer",
        privacy__spare_releases=SPARE,
    )
    with three_homes() as coordinator, ExitStack() as stack:
        rows = (coordinator.homes[NAMES[0]].path / "records.csv").read_text().splitlines()
        custodies = [
            stack.enter_context(open_custody(coordinator.institution(name), None, clock))
            for name in NAMES
        ]
        approve_all(coordinator, custodies, study)
        approvals = {one.party.institution: described(one.custodian, study) for one in custodies}
        stack.close()
        yield Deployed(coordinator, study, approvals, rows)


Rows = list[str]


def first(change: Callable[[str], str]) -> Callable[[Rows], Rows]:
    """Change the first customer's row."""
    return lambda rows: [change(rows[0]), *rows[1:]]


def cell(place: int, value: str) -> Callable[[Rows], Rows]:
    def changed(row: str) -> str:
        cells = row.split(",")
        return ",".join([*cells[:place], value, *cells[place + 1 :]])

    return first(changed)


LOADS: Final[Mapping[str, Callable[[Rows], Rows]]] = {
    "as they were approved": lambda rows: rows,
    "one customer less": lambda rows: rows[1:],
    "a label that became a token": cell(1, MISSING_LABEL),  # D2
    "no label": cell(1, ""),
    "an infinite amount": cell(2, "inf"),
    "text in a number's column": cell(2, "much"),
    "a customer twice": lambda rows: [rows[0], *rows],
    "no id": cell(0, ""),
    "a picture as a level": cell(3, "<img src=x>"),
    "a line of too few fields": first(lambda row: row.rpartition(",")[0]),
    "bytes that are no text": cell(3, "br\udce4nch"),
    "a quote that does not end": cell(3, '"branch'),
    "a lone carriage return": cell(3, "branch\ronline"),
    "nobody": lambda _: [],
    "fewer than the policy's least": lambda rows: rows[:1],
    "one class": lambda rows: [row.replace(",1,", ",0,") for row in rows],
    "nothing that fits": lambda rows: [row.split(",")[0] + ",,inf,x" for row in rows],
}


LIKE_ANOTHER: Final = {  # of which a row beside it says the same: they run at night
    *("one customer less", "text in a number's column", "a line of too few fields", "no label"),
    *("a lone carriage return", "fewer than the policy's least", "one class", "a customer twice"),
}


@pytest.mark.parametrize("load", partly(LOADS, LIKE_ANOTHER))
def test_what_was_approved_is_served_after_a_restart_whatever_its_rows_hold(
    load: str, deployed: Deployed
) -> None:
    """D2: one label that became a token ended the study with `unknown_study`, free and exact."""
    with deployed.restarted(LOADS[load](deployed.rows[1:])) as bench:
        name, study = NAMES[0], deployed.study
        assert described(bench.custodian(name), study) == deployed.approvals[name]
        unknown = home_study(name="another")
        refusal = refused(RefusalCode.UNKNOWN_STUDY)
        assert described(bench.custodian(name), unknown) == refusal
        run = bench.open_run(load.replace(" ", "-").replace("'", ""))
        for kind, step in ((ReleaseKind.REHEARSAL, 0), (ReleaseKind.TRAINING, 0)):
            last = run.everybody(run.request(kind, step))
            assert len({len(vector) for vector in last.vectors}) == 1
        for bad in BAD_REQUESTS:
            hostile = HOSTILE[bad]
            again = bench.open_run(f"{run.federation.run}-{BAD_REQUESTS.index(bad)}")
            assert hostile.build(again, name)() == Refusal(hostile.code), bad


@pytest.mark.parametrize("source", SOURCES)
def test_what_was_approved_is_served_whatever_one_record_of_any_source_holds(
    source: str, deployed: Deployed
) -> None:
    """A customer's branch that was no UTF-8 ended the study over Parquet with `unknown_study`."""
    name, fits = NAMES[0], [tuple(row.encode().split(b",")) for row in deployed.rows[1:]]
    odd = texts(("0", "1.5", "branch"), (0, 2, 3))
    with deployed.restarted_over(source, [*fits[:50], *odd, *fits[50:]]) as bench:
        assert described(bench.custodian(name), deployed.study) == deployed.approvals[name]
        run = bench.open_run(f"over-{list(SOURCES).index(source)}")
        found = run.answer(name, run.request(ReleaseKind.REHEARSAL, 0))
        other = run.answer(NAMES[1], run.request(ReleaseKind.REHEARSAL, 0))
        assert len(found.vector) == len(other.vector)


def test_rows_that_fail_take_the_whole_custodian_down_and_say_not_which() -> None:
    """A view that divides or casts may fail at one value: then no study is answered, nor any call.

    Were the study alone left out, `unknown_study` would tell of that value.
    """
    study, second = home_study(), home_study(name="second")
    with three_homes() as coordinator, ExitStack() as stack:
        custody = stack.enter_context(open_custody(coordinator.institution(), None, clock))
        for one in (study, second):
            described(custody.custodian, one, coordinator.signed(one))
            approve_all(coordinator, [custody], one)
        load = records_loader(custody.institution, {})

        def failing(asked: Study) -> LoadedSums:
            if asked.id == study.id:
                raise FailedRowsError("bank.duckdb: expected values of their column's type")
            return load(asked)

        custody = stack.enter_context(open_custody(coordinator.institution(), None, clock))
        assert resume(custody, failing) == ()
        asked = (study, second, home_study(name="another"))
        down = refused(RefusalCode.LEDGER_UNAVAILABLE)
        found = {described(custody.custodian, one) for one in asked}
        assert found == {down}
        assert custody.custodian.deliver(b"", b"", b"") == Refusal(RefusalCode.LEDGER_UNAVAILABLE)
        assert study.id in custody.custodian.trouble
        assert resume(custody, load) == ()  # a person mended the view
        assert custody.custodian.trouble == ""
        assert described(custody.custodian, second) != down


@pytest.mark.parametrize("there", [True, False])
def test_an_offered_study_that_looks_for_an_id_is_answered_alike(there: bool) -> None:
    """D1: the label is the id, the token an id: an approval that came by itself said which."""
    wanted = f"{NAMES[0]}-17"
    study = home_study(
        records__label="customer", records__positive="nobody", records__missing=["", wanted]
    )
    with three_homes() as coordinator, ExitStack() as stack:
        records = coordinator.homes[NAMES[0]].path / "records.csv"
        rows = records.read_text().splitlines()
        assert len([row for row in rows if row.startswith(f"{wanted},")]) == 1
        if not there:
            records.write_text("\n".join(r for r in rows if not r.startswith(f"{wanted},")) + "\n")
        custody = stack.enter_context(open_custody(coordinator.institution(), None, clock))
        waits = refused(RefusalCode.UNKNOWN_STUDY)
        for _ in range(2):  # it is kept, and no look at it changes the answer
            found = described(custody.custodian, study, coordinator.signed(study))
            assert found == waits
            assert resume(custody, records_loader(custody.institution, {})) == ()
        approve_all(coordinator, [custody], study)  # a person would have to want it
        approval = decode_answer(Call.HELLO, described(custody.custodian, study))["approval"]
        assert approval
        custody = stack.enter_context(open_custody(coordinator.institution(), None, clock))
        assert resume(custody, records_loader(custody.institution, {})) == ()
        again = decode_answer(Call.HELLO, described(custody.custodian, study))["approval"]
        assert again == approval
