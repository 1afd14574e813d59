"""Lines beyond a limit are counted, and no count is lost but by a kill."""

from fieldfare.client.journal.decisions import WINDOW_SECONDS, Flood


class Watch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_lines_are_written_and_the_others_counted() -> None:
    flood: Flood[str] = Flood(Watch())
    assert [flood.admits("a", 2) for _ in range(5)] == [True, True, False, False, False]
    assert flood.admits("b", 2)  # each kind by itself
    assert flood.over() == []
    assert flood.over(at_once=True) == [("a", 3)]
    assert flood.over(at_once=True) == []


def test_a_window_ends_and_another_begins() -> None:
    watch = Watch()
    flood: Flood[str] = Flood(watch)
    assert [flood.admits("a", 1) for _ in range(3)] == [True, False, False]
    watch.now = WINDOW_SECONDS
    assert flood.over() == [("a", 2)]
    assert flood.admits("a", 1)


def test_the_first_that_is_counted_is_known() -> None:
    flood: Flood[str] = Flood(Watch())
    assert flood.admits("a", 1)
    assert not flood.begins("a")
    found = []
    for _ in range(3):
        assert not flood.admits("a", 1)
        found.append(flood.begins("a"))
    assert found == [True, False, False]


def test_a_count_that_could_not_be_written_is_kept() -> None:
    flood: Flood[str] = Flood(Watch())
    for _ in range(3):
        flood.admits("a", 1)
    ((kind, counted),) = flood.over(at_once=True)
    flood.put_back(kind, counted)
    flood.put_back(kind, 1)
    assert flood.over(at_once=True) == [("a", 3)]


def test_windows_that_are_over_are_forgotten() -> None:
    watch = Watch()
    flood: Flood[int] = Flood(watch)
    for kind in range(1000):
        flood.admits(kind, 1)
    watch.now = WINDOW_SECONDS
    flood.over()
    assert not flood._windows
