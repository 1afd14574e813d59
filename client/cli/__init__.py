"""The commands of an institution.

Decide nothing, may import every room of client.
"""

from typing import Final

from fieldfare.shared.cli.part import Part

app: Final = Part(
    __name__,
    gathers=f"{__name__}.ledger",
    alerts="""
        institution.alerts institution.act institution.labels
        institution.export institution.report.check
    """,
    casework="""
        institution.casework.make institution.casework.collect
        institution.forget
        institution.console institution.console.account.add institution.console.account.link
        institution.console.account.close institution.console.account.list
    """,
    drafting="study.new records.assemble",
    home="""
        institution.join institution.keys institution.keys.rotate
        institution.keys.revoke institution.policy institution.log institution.deletions
    """,
    ledger="""
        institution.ledger institution.ledger.split institution.ledger.accept-restore
        institution.ledger.clock institution.ledger.holdout-key institution.ledger.recall
        institution.verify institution.head
    """,
    node="institution.node institution.service.install institution.service.uninstall",
    records="institution.records.import institution.records.check",
    roster="""
        institution.roster institution.roster.accept institution.roster.compare
        institution.roster.vouch institution.roster.forget
    """,
    run="""
        institution.check institution.custodian institution.status
        institution.notices.test institution.notices.list
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
        "upkeep.backup": "institution.keys.recovery institution.backup institution.restore",
        "upkeep.link": "institution.link",
        "upkeep.deletion": "institution.delete institution.model.delete",
        "upkeep.start": "institution.start",
    },
)
