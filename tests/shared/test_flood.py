"""Lines beyond a limit are counted, and no count is lost but by a kill."""

from fieldfare.shared.flood import WINDOW_SECONDS, Flood, WithheldLines


def test_so_many_lines_are_written_and_the_others_counted() -> None:
    flood: Flood[str] = Flood()
    assert [flood.admits("a", 2, now) for now in range(5)] == [True, True, False, False, False]
    assert flood.admits("b", 2, 5)  # each kind by itself
    assert flood.over(6) == []
    assert flood.over(6, at_once=True) == [WithheldLines("a", 3, 0, 4)]
    assert flood.over(6, at_once=True) == []


def test_a_window_ends_and_another_begins() -> None:
    flood: Flood[str] = Flood()
    assert [flood.admits("a", 1, 1) for _ in range(3)] == [True, False, False]
    assert flood.over(WINDOW_SECONDS) == []
    assert flood.over(WINDOW_SECONDS + 1) == [WithheldLines("a", 2, 1, 1)]
    assert flood.admits("a", 1, WINDOW_SECONDS + 1)


def test_the_first_that_is_counted_is_known() -> None:
    flood: Flood[str] = Flood()
    assert flood.admits("a", 1, 0)
    assert not flood.begins("a")
    found = []
    for _ in range(3):
        assert not flood.admits("a", 1, 0)
        found.append(flood.begins("a"))
    assert found == [True, False, False]


def test_a_count_that_could_not_be_written_is_kept() -> None:
    flood: Flood[str] = Flood()
    for now in range(3):
        flood.admits("a", 1, now)
    (counted,) = flood.over(3, at_once=True)
    flood.put_back(counted)
    flood.put_back(counted)
    assert flood.over(4, at_once=True) == [WithheldLines("a", 4, 0, 2)]


def test_windows_that_are_over_are_forgotten() -> None:
    flood: Flood[int] = Flood()
    for kind in range(1000):
        flood.admits(kind, 1, 0)
    assert len(flood) == 1000
    flood.over(WINDOW_SECONDS)
    assert not len(flood)
