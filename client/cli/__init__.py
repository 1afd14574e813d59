"""The commands of an institution.

Decide nothing, may import every room of client.
"""

from pathlib import Path
from typing import Final

from fieldfare.shared.cli.part import HomeParty, Part

app: Final = Part(
    __name__,
    party=HomeParty(
        name="institution",
        marks=("institution.toml", "casework.toml"),  # the second is of its analysts' folder
        variable="FIELDFARE_HOME",
        services=("custodian", "node"),
        service_home=Path("/var/lib/fieldfare"),
        tables={
            "PartyConsole": "fieldfare.client.console.process.CONSOLE",
            "PartyEvidence": f"{__name__}.ledger.EVIDENCE",
            "PartyUpkeep": f"{__name__}.upkeep.backup.UPKEEP",
        },
    ),
    alerts="""
        institution.alerts institution.act institution.labels
        institution.export institution.report.check
    """,
    casework="""
        institution.casework.make institution.casework.collect
        institution.forget
    """,
    drafting="study.new records.assemble",
    home="""
        institution.join institution.keys institution.keys.rotate
        institution.keys.revoke institution.policy institution.log
    """,
    ledger="""
        institution.ledger institution.ledger.split institution.ledger.accept-restore
        institution.ledger.clock institution.ledger.holdout-key institution.ledger.recall
        institution.verify institution.head
    """,
    node="institution.node",
    records="institution.records.import institution.records.check",
    roster="""
        institution.roster institution.roster.accept institution.roster.compare
        institution.roster.vouch institution.roster.forget
    """,
    run="""
        institution.check institution.custodian institution.status
        institution.desk institution.desk.person.add institution.desk.person.remove
        institution.desk.person.list
    """,
    scoring="""
        institution.models institution.evaluate institution.tune
        institution.score
    """,
    setup="institution.init",
    studies="""
        institution.studies institution.import institution.review
        institution.approve institution.reject institution.withdraw
    """,
    typologies="typologies.show typologies.check typologies.run",
    **{
        "upkeep.link": "institution.link",
        "upkeep.deletion": "institution.model.delete",
        "upkeep.start": "institution.start",
    },
)
