"""`fieldfare typologies show|check|run`: indicators in words, and as features of a study."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final

import pyarrow.parquet as pq
import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import JsonOption, day_given
from fieldfare.client.drafting.study_toml import features_text
from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.settings import private_line
from fieldfare.client.records.sources.covering import OPTION, OmittedCounts, bank_codes
from fieldfare.client.typologies import features
from fieldfare.client.typologies.checking import check_pack
from fieldfare.client.typologies.days import DayFiles, days_between, run_days
from fieldfare.client.typologies.extract import open_extract
from fieldfare.client.typologies.pack import Pack, PackIndicator, load_pack, own_pack
from fieldfare.client.typologies.partitions import MOST_PARTS, Room, room_beside
from fieldfare.client.typologies.running import (
    ROWS_IN_A_GROUP,
    RunReport,
    RunTask,
    engine_memory,
    outgrown,
    private_parquet,
    run_pack,
)
from fieldfare.client.typologies.typology import Typology
from fieldfare.client.typologies.windows import WINDOW_DAYS
from fieldfare.shared.errors import UsageError
from fieldfare.shared.pages.words import percent
from fieldfare.shared.system.whole_files import own_folder
from fieldfare.shared.terminal.screen import console, table
from fieldfare.shared.terminal.stderr import progress_bar

WIDTH = 96
_READ = {"text": "text read", "summary": "known from a summary"}


def shown_lines(indicator: PackIndicator, *, sql: bool = False) -> Iterator[str]:
    """Yield a description of an indicator, line by line."""
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
            (
                f"{spec.name}: {spec.meaning} ({one.id} version {one.typology.version})",
                spec.numeric(one.typology.tag),
            )
            for one in pack.indicators
            for spec in one.typology.features
        ]
    )


EXIT_REFUSED: Final = 2


PackOption = Annotated[
    Path | None, typer.Option(help="A folder of your own typologies; else Fieldfare's.")
]
OnlyOption = Annotated[str, typer.Option(help="Only these: R01,R02,...")]
AsOfOption = Annotated[
    str, typer.Option(help="The last day to look at; a public date, 2026-03-31.")
]
SinceOption = Annotated[
    str,
    typer.Option(
        metavar="DAY",
        help="Write a file for each day from this one to --as-of; days that are there are not "
        "computed again.",
    ),
]
ParticipantsOption = Annotated[
    str,
    typer.Option(
        OPTION,
        metavar="CODES",
        help="Bank codes of all participants, yours too: payments with their customers are "
        "left out, and the promise covers the person.",
    ),
]
MemoryOption = Annotated[
    int | None,
    typer.Option(metavar="MB", help="What the run may hold; else 4096, or half the machine."),
]


def _pack(folder: Path | None, only: str = "") -> Pack:
    pack = own_pack() if folder is None else load_pack(folder)
    return pack.chosen(one.strip() for one in only.split(",") if one.strip())


@app.command("typologies.show")
def typologies_show(
    which: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Such as R01; or all; else a list of them."),
    ] = None,
    pack: PackOption = None,
    sql: Annotated[bool, typer.Option("--sql", help="With the query.")] = False,
    study: Annotated[
        bool, typer.Option("--study", help="As [[features]] of a study, with public bounds.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the indicators, or show one: its meaning, its source, its look-alikes."""
    found = _pack(pack, "" if which is None or which == "all" else which)
    if as_json:
        rows = [one.typology.model_dump(mode="json") for one in found.indicators]
        typer.echo(json.dumps({"sha256": found.sha256, "typologies": rows}, indent=2))
    elif study:
        typer.echo(study_features(found), nl=False)
    elif which is None and not sql:
        _list(found)
    else:
        for one in found.indicators:
            typer.echo("\n".join(shown_lines(one, sql=sql)))


def _list(found: Pack) -> None:
    cells = (
        (
            *(said.id, str(said.version), said.family.value, said.tag.value, said.title),
            ", ".join(name.partition(".")[2] for name in said.required) or "-",
        )
        for said in (one.typology for one in found.indicators)
    )
    titles = ("id", "version", "family", "tag", "title", "needs besides the basics")
    console(width=120).print(table(titles, cells))
    typer.echo("No single indicator suffices: look at how many families fire together.")


@app.command("typologies.check")
def typologies_check(pack: PackOption = None, only: OnlyOption = "") -> None:
    """Check that indicators are complete, deterministic and read own records only.

    Each query runs on made-up records, again in another row order, and again without one
    customer: every other number must stay the same bit for bit. Exits with 2 where one does not.
    """
    checked = check_pack(_pack(pack, only))
    for one in checked:
        for problem in one.problems:
            typer.echo(f"{one.id}: {problem}")
    wrong = sum(bool(one.problems) for one in checked)
    if wrong:
        typer.echo(f"{wrong} of {len(checked)} indicators do not hold", err=True)
        raise typer.Exit(EXIT_REFUSED)
    typer.echo(f"{len(checked)} indicators: complete, deterministic, of own records alone")


FolderArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER",
        help="Holds transactions, accounts and customers, canonical; not beside --sql.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="The Parquet file to write: unit, R01, ...; with --since a folder; with --sql "
        "the statements, which are else shown."
    ),
]
LackingOption = Annotated[
    str,
    typer.Option(
        help="Columns that hold nothing here, or that your tables lack: transactions.mcc,..."
    ),
]
HitsOption = Annotated[
    Path | None, typer.Option(help="Also write who hits what, and how many families.")
]
LinkedOption = Annotated[
    Path | None,
    typer.Option(help="Also write forms that look at other customers; no study reads them."),
]
PartsOption = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_PARTS, help="Cut customers into so many parts at least."),
]
SqlOption = Annotated[
    str,
    typer.Option(
        metavar="ENGINE",
        help="Write the SQL that computes them in your own engine: spark or postgres.",
    ),
]
SchemaOption = Annotated[
    str, typer.Option(help="Of --sql: where transactions, accounts and customers stand.")
]
UriFileOption = Annotated[
    Path | None,
    typer.Option(help="Of --sql: a private file with the address of a PostgreSQL: run it there."),
]


@app.command("typologies.run")
def typologies_run(
    as_of: AsOfOption,
    folder: FolderArgument = None,
    out: OutOption = None,
    since: SinceOption = "",
    pack: PackOption = None,
    only: OnlyOption = "",
    lacking: LackingOption = "",
    hits: HitsOption = None,
    linked: LinkedOption = None,
    participants: ParticipantsOption = "",
    memory: MemoryOption = None,
    parts: PartsOption = None,
    sql: SqlOption = "",
    schema: SchemaOption = "",
    uri_file: UriFileOption = None,
) -> None:
    """Compute every indicator for every customer. Nothing leaves this machine."""
    chosen = _pack(pack, only)
    absent = [name.strip() for name in lacking.split(",") if name.strip()]
    day = day_given(as_of, "--as-of")
    if sql:
        if folder or since or hits or linked or participants or memory or parts:
            raise UsageError(
                "--sql: expected no FOLDER, --since, --hits, --linked, --memory, --parts or "
                f"{OPTION} beside it, found one of them"
            )
        _run_elsewhere(chosen, (sql, schema), (day, absent), out, uri_file)
        return
    if folder is None or out is None or schema or uri_file:
        raise UsageError("expected FOLDER and --out, or --sql with its options, found neither")
    _check_apart([path for path in (out, hits, linked) if path is not None], folder)
    codes = bank_codes(participants) if participants else ()
    task = RunTask(folder, chosen, day, absent, codes, parts)
    if since:
        if hits is not None or linked is not None:
            raise UsageError("--since: expected neither --hits nor --linked, found one of them")
        _run_days(task, day_given(since, "--since"), out, engine_memory(memory))
        return
    _check_names([path for path in (out, hits, linked) if path is not None])
    with room_beside(out, engine_memory(memory)) as room, progress_bar() as said:
        report = run_pack(task, room, out, hits, said)
        if linked is not None:
            _run_linked(task, room, linked)
    typer.echo("\n".join([*_report(report, chosen, task.as_of), *_covered(report.left_out)]))
    if linked is not None:
        forms = len(pq.read_schema(linked).names) - 1
        typer.echo(
            f"{linked}: {forms} columns that look at other customers, "
            "for your own eyes: a study that names one is refused"
        )


def _run_days(task: RunTask, since: date, folder: Path, memory: int) -> None:
    """Write a file for each day into a folder, and say of each day what was done."""
    days_between(since, task.as_of)
    own_folder(folder)
    files = DayFiles(folder)
    with room_beside(files.folder / "days", memory) as room, progress_bar() as said:
        for day, report in run_days(task, since, room, files, said):
            if report is None:
                typer.echo(f"{day}: there already")
                continue
            lacking = f", {len(report.missing)} indicators missing" if report.missing else ""
            told = f"{day}: {report.units} customers{_files_read(report)}{lacking}"
            typer.echo("\n".join([told, *_doubts(report)]))


def _files_read(report: RunReport) -> str:
    read, of = report.files
    return f", {read} of {of} files of entries read" if of > 1 else ""


def _check_names(files: Sequence[Path]) -> None:
    for path in files:
        if path.suffix != ".parquet":
            raise UsageError(f"expected a name that ends in .parquet, found {path.name}")
    if len({path.absolute() for path in files}) < len(files):
        raise UsageError("expected a file for each of --out, --hits and --linked, found one twice")


def _check_apart(files: Sequence[Path], records: Path) -> None:
    """Refuse to write over the records that are read, or among them."""
    read = records.resolve()
    for path in files:
        place = path.resolve()
        inside = place.relative_to(read).parts if place.is_relative_to(read) else ("",)
        if not inside or inside[0].partition(".")[0] in TABLES:
            raise UsageError(
                f"{path}: expected a place outside the records that are read, found one inside "
                "them: name another"
            )


def _run_linked(task: RunTask, room: Room, linked: Path) -> None:
    """Write linked forms: they look at all customers at once, never at a part."""
    with (
        outgrown(task, room),
        open_extract(
            task.canonical, task.as_of, task.lacking, banks=task.banks, engine=room.connection
        ) as extract,
    ):
        others = features.linked_table(extract, task.pack).table
    with private_parquet(room, linked, "linked", others.schema) as writer:
        writer.write_table(others)


def _report(report: RunReport, pack: Pack, as_of: date) -> list[str]:
    """Say what was computed, what is missing and why; counts stay on this screen."""
    cut = f", in {report.parts} parts" if report.parts > 1 else ""
    counts = f"{report.units} customers, {len(pack.indicators)} indicators"
    lines = [counts + cut + _files_read(report)]
    lines += [line for one in pack.indicators for line in _line(report, one)]
    lines += _doubts(report)
    lines.append(f"{report.several} customers with hits in two families of evidence or more")
    if report.units and not any(report.fired.values()):
        lines.append(
            f"no customer hits anything: do the records hold entries of the {WINDOW_DAYS} days up "
            f"to {as_of}?"
        )
    return lines


def _doubts(report: RunReport) -> list[str]:
    return [
        f"{name}: only empty values in {', '.join(columns)}; if this institution lacks it, say "
        f"--lacking {','.join(columns)}: missing is not zero"
        for name, columns in report.doubtful.items()
    ]


def _covered(left_out: OmittedCounts | None) -> list[str]:
    """Say what was left out so that the promise covers the person, and what that costs."""
    if left_out is None:
        return []
    share = left_out.entries / left_out.of if left_out.of else 0.0
    said = (
        f"left out {left_out.entries:,} of {left_out.of:,} entries ({percent(share)}), "
        f"{left_out.unknown:,} of them because the other side's bank is not recorded: the promise "
        f"covers the person where every participant leaves out customers of "
        f"{', '.join(left_out.banks)}"
    )
    unnamed = "the transactions do not say whose they are (org_id): is your own code among these?"
    read = "payments left out did happen: this file does not show that wages or rent are absent"
    return [said, *([unnamed] if left_out.unnamed else []), read]


def _line(report: RunReport, indicator: PackIndicator) -> list[str]:
    if indicator.id in report.missing:
        return [f"{indicator.id}  missing: {', '.join(report.missing[indicator.id])}"]
    present, fired = report.present[indicator.id], report.fired[indicator.id]
    return [
        f"{indicator.id}  {present:>8} with a value  {fired:>8} hits  {indicator.typology.title}"
    ]


def _run_elsewhere(
    pack: Pack,
    place: tuple[str, str],
    what: tuple[date, list[str]],
    out: Path | None,
    uri_file: Path | None,
) -> None:
    """Write every indicator in the SQL of an engine, or run it in a PostgreSQL."""
    from fieldfare.client.typologies import dialects  # noqa: PLC0415 -- of an extra of its own

    (engine, schema), (day, lacking) = place, what
    known = [one.value for one in dialects.Dialect]
    if engine not in known:
        raise UsageError(f"--sql: expected {' or '.join(known)}, found {engine[:20]}")
    if schema and not schema.replace("_", "").replace(".", "").isalnum():
        raise UsageError("--schema: expected letters, digits, _ and dots, found other signs")
    asked = dialects.PushedQueries(pack, dialects.Dialect(engine), day, schema, lacking)
    if uri_file is not None:
        _run_there(asked, uri_file, out)
        return
    text = ";\n\n".join(dialects.statements(asked)) + ";\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    with out.open("x", encoding="utf-8") as file:
        file.write(text)


def _run_there(asked: Any, uri_file: Path, out: Path | None) -> None:
    from fieldfare.client.typologies.pushed import run_in_postgresql  # noqa: PLC0415 -- as above

    if out is None or out.suffix != ".parquet":
        raise UsageError("--out: expected a name that ends in .parquet, found another or none")
    with room_beside(out, engine_memory(None)) as room:
        computed = run_in_postgresql(asked, private_line(uri_file))
        with private_parquet(room, out, "out", computed.schema) as writer:
            writer.write_table(computed, row_group_size=ROWS_IN_A_GROUP)
    typer.echo(f"{computed.num_rows} customers, {len(asked.pack.indicators)} indicators")
