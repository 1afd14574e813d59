"""A review as one screen, in plain words.

What a study says is text of somebody else's: nothing of it moves the cursor or sets colours.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fieldfare.client.approvals.review import (
    Column,
    Leaving,
    Review,
    RosterRow,
    StudyChange,
    StudyCost,
)
from fieldfare.shared.pages.words import covers
from fieldfare.shared.terminal.screen import BAD, GOOD, facts, table
from fieldfare.shared.terminal.texts import SHORT, listed, plain

MOST_SHOWN: Final = 12  # columns, members and changes; --json has all
MOST_VALUE: Final = 40
MOST_SAID: Final = 600  # characters of what a start says of itself
MOST_QUESTION: Final = 300


def show_review(review: Review, to: Console) -> None:
    """Print a review."""
    to.print(facts(_rows(review)))


def _rows(review: Review) -> Iterator[tuple[str, RenderableType]]:
    yield "study", Text(f"{plain(review.name)}  ({review.status})")
    yield "id", Text(review.id)
    yield "purpose", Text(plain(review.purpose))
    uses = plain("; ".join(review.prohibited_uses))
    yield "never for", Text(uses or "nothing is prohibited", style="" if uses else BAD)
    yield "reads", _columns(review.columns)
    if review.computed:
        yield "computes", _asks(review.computed)
    if review.questions:
        yield "asks", _asks(review.questions)
    if review.records:
        lines = [plain(line) for line in review.records]
        odd = len(lines) > 1 or lines[0].startswith("cannot")
        yield "records", Text("\n".join(lines), BAD if odd else "")
    yield "leaves", _leaving(review.leaving)
    if review.moments:
        yield "moments", Text(review.moments)
    if review.start:
        yield "starts at", Text(plain(review.start, MOST_SAID))
    yield "", Text("before that: your approval and keys; with every sum: your ledger's total")
    yield (
        "promise",
        Text(
            f"epsilon {review.epsilon:g} at delta {review.delta:g}, all runs together, for each "
            "customer or case; one may be known to at most "
            f"{review.multiplicity} of the institutions. {covers(review.left_out_banks)}"
        ),
    )
    yield "budget", _budget(review.budget)
    yield "company", _company(review)
    yield from _parties(review.parties)
    yield "masks fail", Text(_failed(review))
    yield "changed", _changed(review)
    yield "remember", Text("; ".join(review.harm_rules))
    yield from _warned("no use", review.obstacles)
    yield from _warned("careful", review.cautions)
    yield from _verdict(review.problems)


def _columns(columns: Sequence[Column]) -> Text:
    refused = [column for column in columns if not column.allowed]
    allowed = [column for column in columns if column.allowed]
    text = Text(f"{len(columns)} columns. ")
    if refused:
        text.append("Your policy does not list: " + _names(refused), style=BAD)
        text.append(". ")
    if allowed:
        text.append("Allowed: " + _names(allowed))
    return text


def _asks(questions: Sequence[str]) -> Text:
    return Text("\n".join(_first([plain(question, MOST_QUESTION) for question in questions])))


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - MOST_SHOWN
    return [*lines[:MOST_SHOWN], *([f"and {more} more, see --json"] if more > 0 else [])]


def _names(columns: Sequence[Column]) -> str:
    names = [
        plain(column.name, MOST_VALUE) + ("" if column.role == "feature" else f" ({column.role})")
        for column in columns
    ]
    return listed(names, MOST_SHOWN)


def _leaving(kinds: Sequence[Leaving]) -> Table:
    numbers = ("times", "spare", "numbers", "bytes", "one unit moves it by", "noise on each")
    return table(("sum of", *numbers), map(_cells, kinds), numbers=numbers, whole=("sum of",))


def _cells(kind: Leaving) -> tuple[str | Text, ...]:
    rehearsal = kind.noise == 0.0
    name = kind.kind if kind.allowed else f"{kind.kind}: not allowed"
    inside = f", {kind.local_steps} steps inside" if kind.local_steps else ""
    return (
        Text(name + inside, style="" if kind.allowed else BAD),
        str(kind.releases),
        str(kind.spare),
        f"{kind.entries:,}",
        f"{kind.size:,}",
        "nothing" if rehearsal else f"{kind.most:.3g}",
        "masks only" if rehearsal else f"{kind.noise:.3g}",
    )


def _budget(budget: StudyCost) -> Text:
    text = Text(f"costs epsilon {budget.epsilon:.3g} at your delta {budget.delta:g}")
    if budget.spent_mu2:
        text.append(f", of which {budget.spent:.3g} is spent")
    for name, left, share in (
        ("this year", budget.yearly_left, budget.share_of_year),
        ("ever", budget.lifetime_left, budget.share_of_lifetime),
    ):
        text.append(f"\nleft {name}: {left:.3g}; ")
        text.append(_taken(share), style=BAD if share > 1 else GOOD)
    if budget.promised_mu2:
        text.append(f"\nother approved studies may still spend {budget.promised:.3g} of it")
    if budget.next_freed:
        text.append(f"\n{budget.next_freed}")
    return text


def _taken(share: float) -> str:
    if share > 1:
        return "not enough for this study"
    return f"this study takes {100 * share:.0f} % of it"


def _company(review: Review) -> Text:
    return Text(
        f"{review.least} institutions or more in every sum, {review.tolerance} of them may "
        "collude with the coordinator, among them the one that runs it, if one does; on the "
        f"roster are {len(review.parties)}, whose keys you compare with their own people:"
    )


def _parties(parties: Sequence[RosterRow]) -> Iterator[tuple[str, RenderableType]]:
    """Put names into the first column, so that a fingerprint stays on one line."""
    own_first = sorted(parties, key=lambda party: not party.own)
    for party in own_first[:MOST_SHOWN]:
        name = plain(party.id, MOST_VALUE)
        known = " (you)" if party.own else "" if party.known else " UNKNOWN"
        yield f"  {name}", Text(party.fingerprint + known, "" if party.known else BAD)
    if len(parties) > MOST_SHOWN:
        yield "", Text(f"and {len(parties) - MOST_SHOWN} more, see --json")


def _failed(review: Review) -> str:
    found = " or ".join(
        f"epsilon {epsilon:.3g} with {participants} participants"
        for participants, epsilon in review.failed_masks
    )
    return f"if every mask failed, {found} would remain" if found else "no claim would remain"


def _changed(review: Review) -> Text:
    if review.comparison is None:
        return Text("no earlier study of this name has arrived here")
    changes = review.comparison.changes
    head = f"since {review.comparison.earlier[:SHORT]}, the last of this name:"
    return Text("\n".join([head, *_first([_change(change) for change in changes])]))


def _change(change: StudyChange) -> str:
    key = plain(change.key, 2 * MOST_VALUE)
    if change.before is None:
        return f"+ {key}: {plain(change.after or '', MOST_VALUE)}"
    if change.after is None:
        return f"- {key}: {plain(change.before, MOST_VALUE)}"
    return f"~ {key}: {plain(change.before, MOST_VALUE)} -> {plain(change.after, MOST_VALUE)}"


def _warned(topic: str, lines: Sequence[str]) -> Iterator[tuple[str, RenderableType]]:
    for index, line in enumerate(lines):
        yield "" if index else topic, Text(plain(line), BAD)


def _verdict(problems: Sequence[str]) -> Iterator[tuple[str, RenderableType]]:
    if not problems:
        yield "verdict", Text("fits your policy and your budget; it is for you to decide", GOOD)
    for index, problem in enumerate(problems):
        yield "" if index else "verdict", Text("cannot be approved: " + plain(problem), BAD)
