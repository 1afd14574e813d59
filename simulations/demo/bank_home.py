"""One bank of the demo takes part from a home of its own, and opens a queue of alerts there.

Custodian, ledger and log are those of a deployment. The run's model is delivered into the home, is
used there with the bank's own models, and ranks its customers; a person opens the console on it.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.client.alerts.entry_keys import keys_beside
from fieldfare.client.approvals.approval import approve, receive
from fieldfare.client.console.place import console_place
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.home.comparisons import ComparedKey, ComparisonMethod, keep_compared
from fieldfare.client.home.keys import load_identity
from fieldfare.client.home.layout import INVENTED, Home
from fieldfare.client.home.policy_objections import study_columns
from fieldfare.client.home.roster import pin_roster
from fieldfare.client.home.studies import stamp
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.institution.institution import open_institution, open_journal
from fieldfare.client.institution.open import Custody, LoadedSums, open_custody
from fieldfare.client.journal.entries import Event
from fieldfare.client.model_use.score import Sources, score
from fieldfare.client.model_use.usable import TunedModel, as_tuned, keep_tuned, usable_model
from fieldfare.client.own_model.tuning import TuningOutcome
from fieldfare.client.records.encoding.holdout import split_name
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.closing import compose
from fieldfare.server.run.server_app import Job
from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.protocol.messages import Refusal
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import offer_roster, offer_study
from fieldfare.shared.run.card_facts import card_facts
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import replace_private
from fieldfare.shared.transcript.leaves import tree_head
from fieldfare.simulations.beside import SideProcess
from fieldfare.simulations.federation.federation import Identities, holdout_key
from fieldfare.simulations.world.studies import INSTITUTION, PERSONA

PERSON: Final = "anna"
MADE: Final = "Made by `fieldfare demo`: nobody in it exists.\n"
USER: Final = "demo"  # who did in the home what people of a real bank do
CUSTOMERS: Final = "customers.parquet"
RANKED: Final = "ranked.parquet"


class DemoBank:
    """A bank whose custodian works from a home; in memory while the run lasts, like all ledgers."""

    def __init__(self, name: str, out: Path, *, world: Path, units: Path, seed: int) -> None:
        """Make room for the home.

        Args:
            name: of the bank.
            out: folder of the demo; the home is moved there, under the bank's name.
            world: holds the bank's canonical records, in a folder of its name.
            units: all banks' customers.
            seed: of the split into training and hold-out.

        Raises:
            UsageError: something is in the home's place that no demo made.
        """
        self.name, self.place = name, out / name
        self._world, self._units, self._seed = world, units, seed
        self._run = ""
        self._custody: Custody | None = None
        self._stack = ExitStack()
        _clear(self.place)

    @contextmanager
    def founded(self, folder: Path) -> Iterator[Ed25519PrivateKey]:
        """Found the home in a folder, and move it into its place once the run is over.

        Yields:
            The identity's key, for the roster.
        """
        home = create_institution(folder / self.name, self.name)
        replace_private(home.path / INVENTED, MADE.encode())
        replace_private(home.holdout_key, holdout_key(self._seed))
        with self._stack:
            yield load_identity(home, None)
        if self._run:
            part = self.place.with_name(f".{self.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(home.path, part)
            part.rename(self.place)

    def custodian(
        self, folder: Path, identities: Identities, study: Study, sums: StudySums
    ) -> Custodian:
        """Let the bank accept the roster and approve the study; its people would look first.

        Args:
            folder: as `founded` was given it.
            identities: of the federation, with the home's own key.
            study: what is approved.
            sums: of the bank's customers under it.

        Raises:
            FieldfareError: as `approve` and `open_custody`.
        """
        home = Home.open(folder / self.name)
        self._settle(home, study)
        _meet(home, identities, self.name)
        institution = open_institution(home.path)
        custody = self._stack.enter_context(open_custody(institution, None, utc_now))
        offer = offer_study(study, identities.coordinator)
        kept = receive(institution, custody.journal, offer, "study", USER, utc_now())
        share = study.evaluation.holdout
        split = split_name(key=holdout_key(self._seed), share=share)
        loaded = LoadedSums(replace(sums, split=split), len(sums.holdout) + sums.training_count)
        approve(custody, kept, loaded, USER, utc_now())
        self._custody = custody
        return custody.custodian

    def delivered(self, job: Job, identities: Identities) -> None:
        """Deliver the run's model to the bank, as a coordinator does at a run's end.

        Raises:
            RunError: the bank does not take it.
        """
        state, plan = job.record.run, job.terms.plan
        model, run = state.results.plain_model, job.terms.run
        if model is None or self._custody is None:
            raise RunError("expected a model of a run that the bank took part in, found none")
        head = tree_head(plan.study_id, run, [leaf.hash for leaf in job.record.leaves])
        facts = card_facts(state, size=head.size, root=head.root)
        made = compose(plan, model, facts, identities.coordinator, utc_now())
        answer = self._custody.custodian.deliver(made.envelope, made.model, made.card)
        if isinstance(answer, Refusal):
            raise RunError(f"expected {self.name} to take the model, found {answer.code.value}")
        self._run = run

    def used(self, tuned: TuningOutcome, both: SideProcess) -> Callable[[], dict[str, Any]]:
        """Begin to rank the bank's customers, and return what waits for the queue's facts."""
        return both.begin(_opened_queue, self.place, self._units, self._run, tuned)

    def say(self, found: str) -> None:
        """Keep what the run found, for the first page of the home's console."""
        replace_private(self.place / INVENTED, f"{MADE}{found}\n".encode())

    def _settle(self, home: Home, study: Study) -> None:
        """Write into settings and policy what people of the bank would."""
        columns = json.dumps(study_columns(study))
        policy = home.policy.read_text("utf-8")
        written = policy.replace("columns = []\n", f"columns = {columns}\n")
        replace_private(home.policy, written.encode())
        with home.settings.open("a") as file:
            path, unit = json.dumps(CUSTOMERS), json.dumps(study.records.unit)
            file.write(f"\n[[records]]\npath = {path}\nunit = {unit}\n")
            entries = os.path.relpath(self._world / self.name, self.place)
            file.write(f"\n[alerts]\nentries = {json.dumps(entries)}\n")


def _meet(home: Home, identities: Identities, name: str) -> None:
    """Pin the roster; keys of banks that one process made need no phone call."""
    roster: Roster = identities.roster
    replace_private(home.coordinator_key, f"{roster.roster_key}\n".encode())
    pin_roster(home, offer_roster(roster, identities.roster_key), roster)
    now, others = stamp(utc_now()), [one for one in roster.members if one.id != name]
    compared = (
        ComparedKey(
            institution=one.id, key=one.key, how=ComparisonMethod.MEETING, user=USER, time=now
        )
        for one in others
    )
    keep_compared(home, list(compared))


def _opened_queue(place: Path, units: Path, run: str, tuned: TuningOutcome) -> dict[str, Any]:
    """Score the customers of a home with the delivered model used there; open accounts and queue.

    Returns:
        folder: the home's name; alerts: how many; ranked: customers; run: whose model; tuned: how
        it was fitted here; person: whose account waits for its link.
    """
    everybody = pq.read_table(units)
    own = everybody.filter(pc.equal(everybody[INSTITUTION], place.name))
    pq.write_table(own.drop_columns([INSTITUTION, PERSONA]), place / CUSTOMERS)
    institution = open_institution(place)
    model, now = usable_model(institution, run), utc_now()
    with open_journal(institution.home, utc_now) as journal:
        made = TunedModel.of(model.kept, model.parameters, tuned, now)
        journal.append(Event.TUNED, USER, study=model.study.id, run=run)
        keep_tuned(institution.home, made)
        scored = score(
            institution, journal, as_tuned(institution, model), Sources(), place / RANKED,
            budget=None, user=USER, now=now, random=np.random.default_rng(), environment={},
        )  # fmt: skip
    with console_place(place, None, os.urandom, make=True) as console:
        tell = partial(console.tell, ConsoleAct.ADDED, USER)
        console.book.expect(PERSON, ConsoleRole.ANALYST, tell)
    return {
        "folder": place.name,
        "run": run,
        "tuned": tuned.kind.value,
        "alerts": len(scored.alerts),
        "ranked": len(scored.ranking.units),
        "person": PERSON,
    }


def _clear(place: Path) -> None:
    """Remove the home of an earlier demo, and nothing else."""
    if (place / INVENTED).is_file():  # without it, it is somebody's own
        shutil.rmtree(place)
        shutil.rmtree(keys_beside(place), ignore_errors=True)
    elif place.exists():
        raise UsageError(f"{place}: expected nothing or an earlier demo's home, found another")
