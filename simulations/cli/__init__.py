"""The commands of a whole federation on one machine.

Decide nothing, may import every room of simulations, client and server.
"""

from typing import Final

from fieldfare.shared.cli.part import Part

app: Final = Part(
    __name__,
    imports="fieldfare.simulations.published.importers",
    attack="attack",
    derive="records.derive",
    federation="federation.up federation.down",
    join="study.join",
    simulate="simulate model.score",
    sweep="sweep",
    world="demo world.make world.start",
)
