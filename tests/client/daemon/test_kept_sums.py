"""Sums are prepared once for each study and state of the records."""

from tests.support.homes.institutions import home_study

from fieldfare.client.daemon.reload import KeptSums
from fieldfare.client.institution.open import LoadedSums
from fieldfare.shared.study.study import Study

ONE, OTHER = home_study(), home_study(name="other")


class Loads:
    """A loader that counts; what it loads is never looked at here."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, study: Study) -> LoadedSums:
        self.loaded.append(study.name)
        return LoadedSums(None, len(self.loaded))  # type: ignore[arg-type]


def test_the_same_state_loads_once() -> None:
    loads, kept = Loads(), KeptSums()
    load = kept.loader(loads, "state")
    assert load(ONE) is load(ONE)
    assert kept.loader(loads, "state")(ONE) is load(ONE)
    load(OTHER)
    assert loads.loaded == ["small", "other"]
    assert kept.ready("state") == {ONE.id, OTHER.id}


def test_another_state_loads_again() -> None:
    loads, kept = Loads(), KeptSums()
    first = kept.loader(loads, "state")(ONE)
    assert kept.ready("another") == frozenset()
    assert kept.loader(loads, "another")(ONE) is not first
    assert kept.ready("state") == frozenset()


def test_what_is_not_kept_is_loaded_again() -> None:
    loads, kept = Loads(), KeptSums()
    load = kept.loader(loads, "state")
    load(ONE)
    load(OTHER)
    kept.keep_only({OTHER.id})
    assert kept.ready("state") == {OTHER.id}
    load(ONE)
    assert loads.loaded == ["small", "other", "small"]
