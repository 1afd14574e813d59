"""The root command and the commands that need no role.

Decide nothing, may import every room of shared.
"""

from typing import Final

from fieldfare.shared.cli.part import Part

app: Final = Part(
    __name__,
    audit="audit.transcript audit.stories",
    console="""
        console console.account.add console.account.link console.account.close console.account.list
    """,
    deletions="audit.deletions",
    evidence="evidence.pack evidence.verify",
    software="software",
    services="service.install service.uninstall",
    study="study.check study.sign",
    study_plan="study.plan",
    upkeep="""
        recovery.key recovery.take backup restore
        delete deletions notices.test notices.list
    """,
    watch="watch.files",
)
