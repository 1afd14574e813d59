"""Sums are prepared once for each study and state of the records."""

from tests.support.homes.institutions import home_study

from fieldfare.client.daemon.reload import KeptSums, RecordsState
from fieldfare.client.institution.open import LoadedSums
from fieldfare.shared.study.study import Study

ONE, OTHER = home_study(), home_study(name="other")
STATE = RecordsState(("settings",), ())
ANOTHER = RecordsState(("settings",), (("records.csv", 0, 0, 0),))


class Loads:
    """A loader that counts; what it loads is never looked at here."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, study: Study) -> LoadedSums:
        self.loaded.append(study.name)
        return LoadedSums(None, len(self.loaded))  # type: ignore[arg-type]


def test_the_same_state_loads_once() -> None:
    loads, kept = Loads(), KeptSums()
    load = kept.loader(loads, STATE)
    assert load(ONE) is load(ONE)
    assert kept.loader(loads, STATE)(ONE) is load(ONE)
    load(OTHER)
    assert loads.loaded == ["small", "other"]
    assert kept.ready(STATE) == {ONE.id, OTHER.id}


def test_another_state_loads_again() -> None:
    loads, kept = Loads(), KeptSums()
    first = kept.loader(loads, STATE)(ONE)
    assert kept.ready(ANOTHER) == frozenset()
    assert kept.behind(ANOTHER) == {ONE.id}
    assert kept.behind(STATE) == kept.behind(RecordsState(("others",), ())) == frozenset()
    assert kept.former(ONE) is first
    assert kept.loader(loads, ANOTHER)(ONE) is not first
    assert kept.ready(STATE) == frozenset()


def test_what_is_not_kept_is_loaded_again() -> None:
    loads, kept = Loads(), KeptSums()
    load = kept.loader(loads, STATE)
    load(ONE)
    load(OTHER)
    kept.keep_only({OTHER.id})
    assert kept.ready(STATE) == {OTHER.id}
    load(ONE)
    assert loads.loaded == ["small", "other", "small"]
