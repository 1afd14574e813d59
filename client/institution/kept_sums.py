"""A cache of prepared sums: a decision on one study does not read another study's records.

They are kept by study for as long as the records look the same (`home_state.records_state`).
What a database server holds is read again when the custodian starts.
"""

from collections.abc import Collection

from fieldfare.client.institution.building import LoadedSums, Loader
from fieldfare.shared.study import Study


class KeptSums:
    """A loader that remembers."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[str, tuple[object, LoadedSums]] = {}

    def loader(self, load: Loader, state: object) -> Loader:
        """Return what loads a study with `load`, or gives what was loaded in the same `state`."""

        def loaded(study: Study) -> LoadedSums:
            if study.id not in self.ready(state):
                self._kept[study.id] = (state, load(study))
            return self._kept[study.id][1]

        return loaded

    def words(self, study: str) -> str:
        """Return how many rows of a study's records count as zero; empty where none does."""
        return self._kept[study][1].words if study in self._kept else ""

    def ready(self, state: object) -> frozenset[str]:
        """Return the ids of studies that need no loading in this `state`."""
        return frozenset(study for study, (then, _) in self._kept.items() if then == state)

    def keep_only(self, studies: Collection[str]) -> None:
        """Forget all other studies: their sums take as much memory as their records."""
        self._kept = {study: kept for study, kept in self._kept.items() if study in studies}
