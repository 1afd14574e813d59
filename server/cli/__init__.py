"""The commands of a coordinator.

Decide nothing, may import every room of server.
"""

from typing import Final

from fieldfare.shared.cli.part import Part

app: Final = Part(
    __name__,
    gathers=f"{__name__}.evidence",
    backup="coordinator.recovery coordinator.backup coordinator.restore",
    console="""
        coordinator.console coordinator.console.account.add coordinator.console.account.link
        coordinator.console.account.close coordinator.console.account.list
    """,
    coordinator="""
        coordinator.init coordinator.invitation coordinator.renew coordinator.start
        coordinator.purge coordinator.deletions
    """,
    deletion="coordinator.delete coordinator.model.delete",
    export="coordinator.export",
    members="""
        coordinator.enrol coordinator.members coordinator.remove
        coordinator.roster
    """,
    notices="coordinator.notices.test coordinator.notices.list",
    signing="coordinator.sign",
    queries="query.plan query.ask query.answers",
    runs="""
        coordinator.propose coordinator.studies coordinator.run.start coordinator.run.stop
        coordinator.run.resume coordinator.runs
    """,
    service="coordinator.service.install coordinator.service.uninstall",
    witnesses="coordinator.witnesses coordinator.publish",
)
