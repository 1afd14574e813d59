"""Every command that reads a file which others wrote, or could have: how it is called with one.

The list is taken from the tree of commands: one with a path that stands neither here nor among
what is the caller's own fails `test_every_path_is_looked_at`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fieldfare.shared.cli.root import commands

# Parameters whose path a command writes, or that name the caller's own place or secret.
OWN: Final = frozenset([
    "home", "out", "accounts", "passphrase_file", "roster_key", "roster_passphrase_file", "root",
    "command", "node_home", "draft", "page", "plot", "mlflow", "hits", "linked", "entries", "proof",
    "key", "key_file", "pin_file", "uri_file",
])  # fmt: skip
# Paths of single commands that are no files of others.
NOT_READ: Final = {
    "backup file": "written",
    "recovery.key file": "written",
    "institution.ledger.recall last": "written",
    "institution.casework.make folder": "made",
    "institution.ledger.split into": "a home of one's own",
    "study.join records": "read as `simulate` reads them, by processes of its own",
    "federation.up data": "published data, by the folder's name; starts processes",
}
WITH: Final = "--study {study} --known-always --as-of 2026-01-01 --out {out}"
PAYSIM: Final = "{csv} --from paysim --key-file {secret} --out {out} "
SCORE: Final = "--model {model} --home {home} --unverified"
# Command and parameter -> words of the call; {it} is the marked file.
CALLS: Final[Mapping[str, str]] = {
    "attack records": "labels {study} --records {it}",
    "attack study": "labels {it} --records {records}",
    "audit.deletions earlier": "{text} --roster {roster} --earlier {it}",
    "audit.deletions file": "{it} --roster {roster}",
    "audit.deletions roster": "{text} --roster {it}",
    "audit.deletions transcript": "{text} --roster {roster} --transcript {it}",
    "audit.stories files": "{it} {it} --roster {roster}",
    "audit.stories roster": "{text} --roster {it}",
    "audit.transcript file": "{it} --roster {roster}",
    "audit.transcript later_roster": "{transcript} --roster {run_roster} --later-roster {it}",
    "audit.transcript roster": "{transcript} --roster {it}",
    "audit.transcript witnessed": "{transcript} --roster {run_roster} --witnessed {it}",
    "coordinator.enrol files": "{it} --yes --home {hub}",
    "coordinator.remove last_answer": "bank-a --last-answer {it} --yes --draft --home {hub}",
    "coordinator.invitation signed": "--signed {it} --home {hub}",
    "coordinator.propose file": "{it} --no-hello --home {hub}",
    "coordinator.roster after": "--after {it} --home {hub}",
    "coordinator.roster signed": "--signed {it} --home {hub}",
    "coordinator.sign file": "{it} --yes --out {out} --roster-key {pem}",
    "evidence.pack roster": "--transcript {transcript} --roster {it} --out {out}",
    "evidence.pack transcript": "--transcript {it} --roster {roster} --out {out}",
    "evidence.verify file": "{it} --roster {roster}",
    "evidence.verify roster": "{pack} --roster {it}",
    "institution.alerts mapping": "{alert} --records {records} --mapping {it} --home {home}",
    "institution.alerts records": "{alert} --records {it} --home {home}",
    "institution.check heads": "--skip-records --head {it} --home {home}",
    "institution.check node_settings": "--skip-records --node-settings {it} --home {home}",
    "delete files": "{it} --reason old --yes --home {home}",
    "institution.evaluate mapping": SCORE + " --records {customers} --mapping {it}",
    "institution.evaluate records": SCORE + " --records {it}",
    "institution.export transactions": "{alert} --format goaml --out {out} "
    "--transactions {it} --home {home}",
    "institution.import files": "{it} --home {home}",
    "institution.join file": "{it} --yes --home {fresh} --out {out}",
    "institution.node settings": "--settings {it}",
    "institution.records.check mapping": "{study} --records {records} --mapping {it}",
    "institution.records.check records": "{study} --records {it}",
    "institution.records.check study": "{it} --records {records}",
    "institution.records.import codes": PAYSIM + "--codes {it}",
    "institution.records.import files": "{it} --from {form} --key-file {secret} --out {out}",
    "institution.records.import mapping": PAYSIM + "--mapping {it}",
    "institution.report.check file": "{it} --format {report}",
    "recovery.take file": "{it} --home {home}",
    "restore file": "{it} --recovery-key {recovery} --rehearse --home {out}",
    "restore witness": "{text} --recovery-key {recovery} --witness {it} --home {out}",
    "institution.roster.accept file": "{it} --yes --home {home}",
    "institution.score before": SCORE + " --records {customers} --before {it} --out {out}",
    "institution.score mapping": SCORE + " --records {customers} --mapping {it} --out {out}",
    "institution.score records": SCORE + " --records {it} --out {out}",
    "institution.init records": "--id bank-z --records {it} --unit customer --home {out}",
    "institution.status node_settings": "--node-settings {it} --home {home}",
    "institution.verify heads": "log --head {it} --home {home}",
    "institution.verify book": "{it} --home {home}",
    "institution.tune mapping": SCORE + " --records {customers} --mapping {it}",
    "institution.tune records": SCORE + " --records {it}",
    "model.score model": "{it} {study} --records {records} --out {out}.csv",
    "model.score records": "{text} {study} --records {it} --out {out}.csv",
    "model.score study": "{text} {it} --records {records} --out {out}.csv",
    "query.ask questions": "small {it} --yes --home {hub}",
    "query.plan questions": "{study} --questions {it}",
    "query.plan study": "{it}",
    "records.assemble beside": "--features {csv} --labels {csv} --beside {it} " + WITH,
    "records.assemble features": "--features {it} --labels {csv} " + WITH,
    "records.assemble labels": "--features {csv} --labels {it} " + WITH,
    "records.assemble study": "--features {csv} --labels {csv} " + WITH.replace("{study}", "{it}"),
    "records.derive folder": "amlsim {it} --out {out}",
    "simulate holdout_file": "{study} --records {records} --holdout-file {it} --quiet --out {out}",
    "simulate records": "{study} --records {it} --institution-column none --quiet --out {out}",
    "simulate study": "{it} --records {records} --institution-column none --quiet --out {out}",
    "study.check study": "{it}",
    "study.join institutions": "{study} --institutions {it} --out {out}",
    "study.join study": "{it} --records {records} --institution-column none --out {out}",
    "study.new records": "--records {it} --label reported",
    "study.plan earlier": "{study} --institutions 5 --earlier {it}",
    "study.plan study": "{it} --institutions 5",
    "study.sign study": "{it} --key {pem}",
    "sweep plan": "{it} --out {out}",
    "typologies.check pack": "--pack {it}",
    "typologies.run folder": "{it} --as-of 2026-01-01 --out {out}",
    "typologies.run pack": "{csv} --as-of 2026-01-01 --pack {it} --out {out}",
    "typologies.show pack": "R01 --pack {it}",
    "world.make institutions": "--people 100 --months 1 --institutions {it} --out {out}",
    "world.start study": "--scenarios none --study {it} --out {out}",
}  # fmt: skip


def read_paths() -> Iterator[str]:
    """Yield `command parameter` for each path of every command that is not the caller's own."""
    for name, load in commands().items():
        for one in load().params:
            if one.name and _is_path(one) and one.name not in OWN:
                yield f"{name} {one.name}"


def _is_path(one: Any) -> bool:
    told = type(one.type).__name__
    return "Path" in told or one.name in {"records", "holdout_file", "book"}
