"""One indicator in words, and a pack as the features of a study."""

import textwrap
from collections.abc import Iterator

from fieldfare.client.draft_text import features_text
from fieldfare.client.typologies.pack import Indicator, Pack
from fieldfare.client.typologies.typology import Typology

WIDTH = 96
_READ = {"text": "text read", "summary": "known from a summary"}


def shown_lines(indicator: Indicator, *, sql: bool = False) -> Iterator[str]:
    """Give what a person should know about an indicator, line by line."""
    said = indicator.typology
    yield f"{said.id} version {said.version}: {said.title}"
    yield f"family {said.family.value}, tag {said.tag.value}, status {said.status.value}"
    yield from _wrapped("formula", said.formula)
    yield f"needs: {', '.join(said.required) or 'nothing besides the basics'}"
    for spec in said.features:
        yield from _wrapped(spec.name, f"{spec.meaning}; bounds {spec.lower:g} to {spec.upper:g}; "
                            f"{spec.absent.value} where nothing happened")  # fmt: skip
    yield f"fires at {said.fires.at_least:g} and above: our choice, no official cut-off"
    for source in said.sources:
        yield from _wrapped("source", f"{source.ref} ({_READ[source.seen]}): {source.says}")
    for line in said.benign:
        yield from _wrapped("what else it may be", line)
    if said.note:
        yield from _wrapped("note", said.note)
    yield from _linked(said)
    if sql:
        yield from ("", *indicator.sql.rstrip().split("\n"))
    yield ""


def _linked(said: Typology) -> Iterator[str]:
    if said.linked is not None:
        yield from _wrapped("linked form, never leaves", said.linked.formula)


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(f"{title}: {text}", WIDTH, subsequent_indent="    ")


def study_features(pack: Pack) -> str:
    """Return the features of a pack as TOML, to paste into a study; linked forms are not there."""
    return features_text(
        [
            (f"{spec.name}: {spec.meaning} ({one.id} version {one.typology.version})",
             spec.numeric(one.typology.tag))
            for one in pack.indicators
            for spec in one.typology.features
        ]
    )  # fmt: skip
