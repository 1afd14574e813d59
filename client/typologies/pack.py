"""Typologies as data: published red flags, each one YAML file and one SQL query.

`R01.yaml` gives an indicator's meaning, its source and its look-alikes; `R01.sql`
computes it from canonical records. `docs/typologies.md` explains both, and how to add one.

A pack is a folder of them, checked as a whole. The pack that comes with Fieldfare is this package's
own folder; an institution may keep another one, with its own constants and versions.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

import yaml
from pydantic import ValidationError

from fieldfare.client.typologies.typology import FeatureSpec, Typology
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.toml import problem_lines

# -- pack -----------------------------------------------------------------------------------------

MAX_FILE: Final = 65_536  # bytes: an indicator is small, or it is several
OWN_PACK: Final = "fieldfare.client.typologies"


@dataclass(frozen=True)
class PackIndicator:
    """A typology with its queries.

    Attributes:
        sql: for the features; `linked_sql` for the linked form, empty where there is none.
    """

    typology: Typology
    sql: str
    linked_sql: str = ""

    @property
    def id(self) -> str:
        """The typology's."""
        return self.typology.id


@dataclass(frozen=True)
class Pack:
    """Indicators by id.

    Attributes:
        sha256: of all files together; stands beside every feature table.
    """

    indicators: tuple[PackIndicator, ...]
    sha256: str

    def chosen(self, ids: Iterable[str]) -> "Pack":
        """Return the same with those indicators only; all where `ids` is empty.

        Raises:
            UsageError: an id is unknown.
        """
        wanted = tuple(ids)
        known = {indicator.id for indicator in self.indicators}
        unknown = [one for one in wanted if one not in known]
        if unknown:
            raise UsageError(
                f"expected an indicator of the pack, found {unknown[0]}; see typologies show"
            )
        kept = [one for one in self.indicators if not wanted or one.id in wanted]
        return Pack(tuple(kept), self.sha256)

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """Every feature that may leave, in order."""
        return tuple(spec for one in self.indicators for spec in one.typology.features)


@cache
def own_pack() -> Pack:
    """Return the pack that comes with Fieldfare."""
    return load_pack(resources.files(OWN_PACK))


def load_pack(folder: Traversable) -> Pack:
    """Read and check every indicator of a folder.

    Raises:
        UsageError: no indicator, or lists every mistake, one line each.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder of typologies, found none")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    problems: list[str] = []
    found: list[PackIndicator] = []
    digest = hashlib.sha256()
    for file in files:
        try:
            found.append(_indicator(folder, file, digest))
        except UsageError as error:
            problems.append(str(error))
    if not files:
        problems.append(f"{folder}: expected files such as R01.yaml, found none")
    if problems:
        raise UsageError("\n".join(problems))
    return Pack(tuple(found), digest.hexdigest())


def _indicator(folder: Traversable, file: Traversable, digest: "hashlib._Hash") -> PackIndicator:
    text = _text(file)
    typology = parse_typology(text, file.name)
    stem = file.name.removesuffix(".yaml")
    if stem != typology.id:
        raise UsageError(f"{file.name}: expected id {stem}, found {typology.id}")
    sql = _text(folder.joinpath(f"{stem}.sql"))
    linked = _text(folder.joinpath(f"{stem}_linked.sql")) if typology.linked else ""
    for part in (text, sql, linked):
        digest.update(len(part).to_bytes(8, "big") + part.encode())
    return PackIndicator(typology, sql, linked)


def _text(file: Traversable) -> str:
    try:
        content = file.read_bytes()
    except OSError:
        raise UsageError(f"{file.name}: expected a readable file, found none") from None
    if len(content) > MAX_FILE:
        raise UsageError(f"{file.name}: expected at most {MAX_FILE} bytes, found more")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{file.name}: expected UTF-8 text, found other bytes") from None


class _StrictLoader(yaml.CSafeLoader):  # type: ignore[misc]
    """Plain YAML whose keys may not stand twice; libyaml reads ten times faster than Python."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Return a mapping; a key that stands twice is an error."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.YAMLError("a key twice")
        return dict(super().construct_mapping(node, deep))


def _plain(text: str) -> object:
    """Return the data of a YAML text; what points at itself is never composed."""
    if any(isinstance(one, yaml.AliasEvent) for one in yaml.parse(text, Loader=yaml.CSafeLoader)):
        raise yaml.YAMLError("an alias")
    found: object = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 -- safe, made stricter
    return found


def parse_typology(text: str, name: str) -> Typology:
    """Read one YAML text.

    Raises:
        UsageError: lists every mistake, one line each.
    """
    try:
        data = _plain(text)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(
            f"{name}{where}: expected plain YAML, without aliases or repeated keys; correct it"
        ) from None
    try:
        return Typology.model_validate(data)
    except ValidationError as error:
        lines = [f"{name}: {line}" for line in problem_lines(error)]
        raise UsageError("\n".join(lines)) from None
