"""A review in plain words, topic by topic: what the terminal's screen and the console's page say.

What a study says is text of somebody else's: it is made plain here, on one line and cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fieldfare.client.approvals.review import Column, LeavingSum, Review, RosterRow, StudyCost
from fieldfare.shared.desk.topics import Line, ReviewTopic, StyledText, Tone
from fieldfare.shared.pages.words import covers
from fieldfare.shared.study.comparison import change_line
from fieldfare.shared.terminal.texts import SHORT, listed, plain

MOST_SAID: Final = 600  # characters of what a start says of itself
MOST_QUESTION: Final = 300
LEAVES: Final = "leaves"
SUM_TITLES: Final = (
    *("sum of", "times", "spare", "numbers", "bytes", "one unit moves it by"),
    "noise on each",
)


@dataclass(frozen=True)
class ReviewBounds:
    """How much is said: so many columns, members and changes, each value so long."""

    rows: int = 12
    value: int = 40


SCREEN: Final = ReviewBounds()
PAGE: Final = ReviewBounds(rows=2_000, value=2_000)


def review_topics(review: Review, most: ReviewBounds = SCREEN) -> Iterator[ReviewTopic]:
    """Yield everything that a person reads before a decision, in the order of reading."""
    yield _say("study", f"{plain(review.name)}  ({review.status})")
    yield _say("id", review.id)
    yield _say("purpose", plain(review.purpose))
    uses = plain("; ".join(review.prohibited_uses))
    nothing = StyledText("nothing is prohibited", Tone.BAD)
    yield ReviewTopic("never for", ((StyledText(uses) if uses else nothing,),))
    yield ReviewTopic("reads", (_columns(review.columns, most),))
    yield from _list_asked("computes", review.computed, most)
    yield from _list_asked("asks", review.questions, most)
    if review.records:
        lines = [plain(line) for line in review.records]
        odd = len(lines) > 1 or lines[0].startswith("cannot")
        yield _say("records", *lines, tone=Tone.BAD if odd else Tone.PLAIN)
    yield ReviewTopic(LEAVES, rows=tuple(map(_cells, review.leaving)))
    if review.moments:
        yield _say("moments", review.moments)
    if review.start:
        yield _say("starts at", plain(review.start, MOST_SAID))
    yield _say("", "before that: your approval and keys; with every sum: your ledger's total")
    yield _say("promise", _promise(review))
    yield ReviewTopic("budget", tuple(_budget(review.budget)))
    yield _say("company", _company(review))
    yield from _parties(review.parties, most)
    yield _say("masks fail", _describe_failed_masks(review))
    yield _say("changed", *_list_changes(review, most))
    yield _say("remember", " ".join(review.harm_rules))
    yield from _warn("no use", review.obstacles)
    yield from _warn("careful", review.cautions)
    yield from _verdict(review.problems)


def _say(name: str, *lines: str, tone: Tone = Tone.PLAIN) -> ReviewTopic:
    return ReviewTopic(name, tuple((StyledText(line, tone),) for line in lines))


def _promise(review: Review) -> str:
    return (
        f"epsilon {review.epsilon:g} at delta {review.delta:g}, all runs together, for each "
        "customer or case; one may be known to at most "
        f"{review.multiplicity} of the institutions. {covers(review.left_out_banks)}"
    )


def _columns(columns: Sequence[Column], most: ReviewBounds) -> Line:
    refused = [column for column in columns if not column.allowed]
    allowed = [column for column in columns if column.allowed]
    line = [StyledText(f"{len(columns)} columns. ")]
    if refused:
        names = _names(refused, most)
        line += [StyledText("Your policy does not list: " + names, Tone.BAD), StyledText(". ")]
    if allowed:
        line.append(StyledText("Allowed: " + _names(allowed, most)))
    return tuple(line)


def _names(columns: Sequence[Column], most: ReviewBounds) -> str:
    names = [
        plain(column.name, most.value) + ("" if column.role == "feature" else f" ({column.role})")
        for column in columns
    ]
    return listed(names, most.rows)


def _list_asked(name: str, lines: Sequence[str], most: ReviewBounds) -> Iterator[ReviewTopic]:
    if lines:
        yield _say(name, *_first([plain(line, MOST_QUESTION) for line in lines], most))


def _first(lines: Sequence[str], most: ReviewBounds) -> list[str]:
    more = len(lines) - most.rows
    return [*lines[: most.rows], *([f"and {more} more, see --json"] if more > 0 else [])]


def _cells(kind: LeavingSum) -> tuple[StyledText, ...]:
    rehearsal = kind.noise == 0.0
    name = kind.kind if kind.allowed else f"{kind.kind}: not allowed"
    inside = f", {kind.local_steps} steps inside" if kind.local_steps else ""
    return (
        StyledText(name + inside, Tone.PLAIN if kind.allowed else Tone.BAD),
        StyledText(str(kind.releases)),
        StyledText(str(kind.spare)),
        StyledText(f"{kind.entries:,}"),
        StyledText(f"{kind.size:,}"),
        StyledText("nothing" if rehearsal else f"{kind.most:.3g}"),
        StyledText("masks only" if rehearsal else f"{kind.noise:.3g}"),
    )


def _budget(budget: StudyCost) -> Iterator[Line]:
    spent = f", of which {budget.spent:.3g} is spent" if budget.spent_mu2 else ""
    yield (StyledText(f"costs epsilon {budget.epsilon:.3g} at your delta {budget.delta:g}{spent}"),)
    for name, left, share in (
        ("this year", budget.yearly_left, budget.share_of_year),
        ("ever", budget.lifetime_left, budget.share_of_lifetime),
    ):
        tone = Tone.BAD if share > 1 else Tone.GOOD
        yield StyledText(f"left {name}: {left:.3g}; "), StyledText(_describe_share(share), tone)
    if budget.promised_mu2:
        yield (StyledText(f"other approved studies may still spend {budget.promised:.3g} of it"),)
    if budget.next_freed:
        yield (StyledText(budget.next_freed),)


def _describe_share(share: float) -> str:
    if share > 1:
        return "not enough for this study"
    return f"this study takes {100 * share:.0f} % of it"


def _company(review: Review) -> str:
    return (
        f"{review.least} institutions or more in every sum, {review.tolerance} of them may "
        "collude with the coordinator, among them the one that runs it, if one does; on the "
        f"roster are {len(review.parties)}, whose keys you compare with their own people:"
    )


def _parties(parties: Sequence[RosterRow], most: ReviewBounds) -> Iterator[ReviewTopic]:
    """Put names into the first column, so that a fingerprint stays on one line."""
    own_first = sorted(parties, key=lambda party: not party.own)
    for party in own_first[: most.rows]:
        known = " (you)" if party.own else "" if party.known else " UNKNOWN"
        tone = Tone.PLAIN if party.known else Tone.BAD
        yield _say(f"  {plain(party.id, most.value)}", party.fingerprint + known, tone=tone)
    if len(parties) > most.rows:
        yield _say("", f"and {len(parties) - most.rows} more, see --json")


def _describe_failed_masks(review: Review) -> str:
    found = " or ".join(
        f"epsilon {epsilon:.3g} with {participants} participants"
        for participants, epsilon in review.failed_masks
    )
    return f"if every mask failed, {found} would remain" if found else "no claim would remain"


def _list_changes(review: Review, most: ReviewBounds) -> list[str]:
    if review.comparison is None:
        return ["no earlier study of this name has arrived here"]
    last = "approved one of this name" if review.comparison.approved else "of this name"
    none = "" if review.comparison.approved else "; none of them is approved"
    head = f"since {review.comparison.earlier[:SHORT]}, the last {last}{none}:"
    changes = [change_line(one, most.value) for one in review.comparison.changes]
    return [head, *_first(changes, most)]


def _warn(topic: str, lines: Sequence[str]) -> Iterator[ReviewTopic]:
    for index, line in enumerate(lines):
        yield _say("" if index else topic, plain(line), tone=Tone.BAD)


def _verdict(problems: Sequence[str]) -> Iterator[ReviewTopic]:
    if not problems:
        fits = "fits your policy and your budget; it is for you to decide"
        yield _say("verdict", fits, tone=Tone.GOOD)
    for index, problem in enumerate(problems):
        text = "cannot be approved: " + plain(problem)
        yield _say("" if index else "verdict", text, tone=Tone.BAD)
