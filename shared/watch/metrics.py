"""Every metric that Fieldfare has: its name, its help, and which values its labels may take.

One list for all processes, so that a rule, a dashboard and a document can be held against it. Pure:
a process makes samples of its state (`client/node/watching.py`, `client/daemon/watching.py`,
`server/upkeep/watch_state.py`), and these are checked here, on the way out, against what was
promised.

A label takes one of a closed set of values, so that no text from outside becomes a series; the one
exception is an institution's id, of which a roster has so many and no more.

Of a custodian nothing is told that depends on a record, nor how long anything took it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Final

from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.protocol.messages import ReleaseKind

PREFIX: Final = "fieldfare_"
MEMBER: Final[frozenset[str]] = frozenset()  # of a label that holds an institution's id
LONGEST_MEMBER: Final = 128  # characters
DAY: Final = timedelta(days=1)  # of what is told in days


class MetricKind(Enum):
    """How a value moves; the value is Prometheus's word."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True)
class MetricDefinition:
    """A metric as it is promised.

    Attributes:
        name: with the prefix and, of a counter, `_total`.
        kind: a counter only goes up while a process lives.
        says: one sentence.
        labels: allowed values by label; MEMBER: an institution's id.
    """

    name: str
    kind: MetricKind
    says: str
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class MetricSample:
    """One value of a metric; `labels` in the definition's order."""

    metric: MetricDefinition
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probe:
    """One part of what a process needs, and whether it is there.

    Attributes:
        part: a fixed word.
        good: whether it is.
        says: a fixed sentence where it is not.
    """

    part: str
    good: bool
    says: str = ""


def _gauge(name: str, says: str, **labels: Iterable[str]) -> MetricDefinition:
    return MetricDefinition(PREFIX + name, MetricKind.GAUGE, says, _closed(labels))


def _counter(name: str, says: str, **labels: Iterable[str]) -> MetricDefinition:
    return MetricDefinition(f"{PREFIX}{name}_total", MetricKind.COUNTER, says, _closed(labels))


def _closed(labels: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    return {label: frozenset(values) for label, values in labels.items()}


# -- of every process -----------------------------------------------------------------------------

ROLES: Final = ("coordinator", "custodian", "node")
STORES: Final = ("audit_log", "decisions", "notices", "runs", "superlink")

BUILD: Final = MetricDefinition(
    f"{PREFIX}build_info",
    MetricKind.GAUGE,
    "Which version runs; always 1.",
    {"role": frozenset(ROLES), "version": MEMBER},
)
CLOCK_ERROR: Final = _gauge(
    "clock_error_seconds",
    "Within how many seconds this clock is right by the kernel's account; +Inf: nothing sets it.",
)
CLOCK_OFFSET: Final = _gauge(
    "clock_offset_seconds",
    "The coordinator's clock less this one, by the date of its answers, to about a second.",
)
CERTIFICATE: Final = _gauge(
    "certificate_days",
    "Days until a certificate ends; below 0: it has ended.",
    certificate=("authority", "link", "link_authority", "server"),
)
READY: Final = _gauge("ready", "1 where this process can do its work now, as /readyz says it.")
STORE: Final = _gauge("store_bytes", "Bytes that a store takes on the disk.", store=STORES)

# -- of a node ------------------------------------------------------------------------------------

OUTCOMES: Final = ("answered", "refused", "failed", "dropped")
CALLS: Final = (*(call.value for call in Call), "other")

NODE_CONNECTED: Final = _gauge("node_connected", "1 where the SuperLink answered lately.")
NODE_HEARD: Final = _gauge("node_heard_timestamp_seconds", "When the SuperLink answered last.")
NODE_MESSAGE: Final = _gauge("node_message_timestamp_seconds", "When a message arrived last.")
NODE_MESSAGES: Final = _counter(
    "node_messages",
    "Messages since the start, by call and by what became of each.",
    call=CALLS,
    outcome=OUTCOMES,
)

# -- of a custodian -------------------------------------------------------------------------------

WINDOWS: Final = ("year", "lifetime")
STUDY_STATES: Final = ("received", "approved", "rejected", "withdrawn")
ACTS: Final = ("opened", "agreed", "cosigned", "published", "told", "forked")

CUSTODIAN_WRITTEN: Final = _gauge(
    "custodian_written_timestamp_seconds", "When the custodian wrote this file."
)
CUSTODIAN_SERVING: Final = _gauge(
    "custodian_serving", "1 where studies may be served; 0: nothing is, `status` says why."
)
CUSTODIAN_STUDIES: Final = _gauge(
    "custodian_studies",
    "Studies that arrived, by what people here said; received: they wait for a decision.",
    state=STUDY_STATES,
)
CUSTODIAN_RELEASES: Final = _counter(
    "custodian_releases",
    "Answers that left since the start, by kind; training: one for each step.",
    kind=(kind.value for kind in ReleaseKind),
)
CUSTODIAN_REPEATS: Final = _counter(
    "custodian_repeated_attempts", "Answers to a second or later attempt since the start."
)
CUSTODIAN_ACTS: Final = _counter(
    "custodian_run_acts", "Acts for runs without a release since the start, by kind.", act=ACTS
)
CUSTODIAN_REFUSALS: Final = _counter(
    "custodian_refusals",
    "Refusals since the start, by their fixed code.",
    code=(code.value for code in RefusalCode),
)
LEDGER_ENTRIES: Final = _gauge("ledger_entries", "Entries of the ledger: a debit is one.")
LEDGER_EPOCH: Final = _gauge("ledger_epoch", "How often the ledger began anew after a restore.")
BUDGET_LIMIT: Final = _gauge(
    "budget_limit_mu2", "What the policy allows, in mu^2, as files hold it.", window=WINDOWS
)
BUDGET_LEFT: Final = _gauge("budget_left_mu2", "What is left of it, in mu^2.", window=WINDOWS)
BUDGET_EPSILON: Final = _gauge(
    "budget_left_epsilon",
    "What is left of it as epsilon at the policy's delta, as people read it.",
    window=WINDOWS,
)

# -- of a coordinator -----------------------------------------------------------------------------

RUN_STATES: Final = ("waiting", "running", "stopping", "stopped", "finished", "failed")

RUNS: Final = _gauge("coordinator_runs", "Runs by their state in the run store.", state=RUN_STATES)
RUNS_INTERRUPTED: Final = _gauge(
    "coordinator_runs_interrupted", "Runs that should go on and whose process is gone."
)
STEPS: Final = _counter("coordinator_steps", "Training steps that all runs have done, ever.")
STEPS_OPEN: Final = _gauge("coordinator_steps_open", "Steps left of runs that have not ended.")
ATTEMPTS_FAILED: Final = _counter(
    "coordinator_failed_attempts", "Attempts of all runs that failed, ever."
)
ATTEMPTS_LOST: Final = _counter(
    "coordinator_lost_attempts",
    "Failed attempts that an institution caused, ever.",
    institution=MEMBER,
)
PROGRESS: Final = _gauge(
    "coordinator_progress_timestamp_seconds", "When a run wrote its progress last."
)
STUDIES_WAITING: Final = _gauge(
    "coordinator_studies_waiting", "Studies that wait for approvals: too few are there for a run."
)
STUDIES_READY: Final = _gauge(
    "coordinator_studies_ready", "Studies with enough approvals of which no run began."
)
SPARES_LEFT: Final = _gauge(
    "coordinator_spare_releases_left",
    "Fewest spare releases left of a study with an unfinished run.",
)
MEMBER_CONNECTED: Final = _gauge(
    "coordinator_node_connected",
    "1 where an institution's node is connected to the SuperLink.",
    institution=MEMBER,
)
MEMBER_CLOCK: Final = _gauge(
    "coordinator_member_clock_seconds",
    "A member's signed time less the moment when the last run was begun: its clock is off where "
    "this is below 0, or far above how long a run waits for nodes.",
    institution=MEMBER,
)
SUPERLINK_ANSWERS: Final = _gauge(
    "coordinator_superlink_up", "1 where the SuperLink answers over TLS on this host."
)

OF_ALL: Final = (BUILD, CLOCK_ERROR)
OF_NODE: Final = (
    *(CERTIFICATE, CLOCK_OFFSET, READY),
    *(NODE_CONNECTED, NODE_HEARD, NODE_MESSAGE, NODE_MESSAGES),
)
OF_CUSTODIAN: Final = (
    *(CUSTODIAN_WRITTEN, CUSTODIAN_SERVING, CUSTODIAN_STUDIES, CUSTODIAN_RELEASES),
    *(CUSTODIAN_REPEATS, CUSTODIAN_ACTS, CUSTODIAN_REFUSALS, LEDGER_ENTRIES, LEDGER_EPOCH),
    *(BUDGET_LIMIT, BUDGET_LEFT, BUDGET_EPSILON, CERTIFICATE),
)
OF_COORDINATOR: Final = (
    *(CERTIFICATE, READY, STORE, RUNS, RUNS_INTERRUPTED, STEPS, STEPS_OPEN, ATTEMPTS_FAILED),
    *(ATTEMPTS_LOST, PROGRESS, STUDIES_WAITING, STUDIES_READY, SPARES_LEFT),
    *(MEMBER_CONNECTED, MEMBER_CLOCK, SUPERLINK_ANSWERS),
)


def all_metrics() -> tuple[MetricDefinition, ...]:
    """Return every metric once, in the order of their names."""
    named = {one.name: one for one in (*OF_ALL, *OF_NODE, *OF_CUSTODIAN, *OF_COORDINATOR)}
    return tuple(named[name] for name in sorted(named))


def checked(samples: Iterable[MetricSample]) -> Iterator[MetricSample]:
    """Yield the samples that are as promised, in the order of names and labels.

    Edge cases:
        | sample | becomes |
        |---|---|
        | of a metric that is not in the list above | left out |
        | a label outside its closed set, or too few labels | left out |
        | an institution's id that is empty, too long or not printable | left out |
        | NaN | left out |
    """
    fit = (one for one in samples if not math.isnan(one.value) and _fits(one))
    yield from sorted(fit, key=lambda one: (one.metric.name, one.labels))


_PROMISED: Final = frozenset(one.name for one in all_metrics())


def _fits(sample: MetricSample) -> bool:
    sets = tuple(sample.metric.labels.values())
    if sample.metric.name not in _PROMISED or len(sets) != len(sample.labels):
        return False
    return all(
        value in values if values else _is_member(value)
        for values, value in zip(sets, sample.labels, strict=True)
    )


def _is_member(value: str) -> bool:
    return 0 < len(value) <= LONGEST_MEMBER and value.isprintable()
