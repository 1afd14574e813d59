"""The commands of a coordinator.

Decide nothing, may import every room of server.
"""

from pathlib import Path
from typing import Final

from fieldfare.shared.cli.part import HomeParty, Part

app: Final = Part(
    __name__,
    party=HomeParty(
        name="coordinator",
        marks=("coordinator.toml",),
        variable="FIELDFARE_COORDINATOR",
        services=("coordinator",),
        service_home=Path("/var/lib/fieldfare-coordinator"),
        tables={
            "PartyConsole": "fieldfare.server.console.process.CONSOLE",
            "PartyEvidence": f"{__name__}.evidence.EVIDENCE",
            "PartyUpkeep": f"{__name__}.upkeep.UPKEEP",
        },
    ),
    coordinator="""
        coordinator.init coordinator.invitation coordinator.renew coordinator.start
        coordinator.purge
    """,
    export="coordinator.export",
    members="""
        coordinator.enrol coordinator.members coordinator.remove
        coordinator.roster
    """,
    signing="coordinator.sign",
    queries="query.plan query.ask query.answers",
    runs="""
        coordinator.propose coordinator.studies coordinator.run.start coordinator.run.stop
        coordinator.run.resume coordinator.runs
    """,
    upkeep="coordinator.model.delete",
    witnesses="coordinator.witnesses coordinator.publish",
)
