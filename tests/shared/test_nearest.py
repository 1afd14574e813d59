from fieldfare.shared.advice import meant, nearest


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    columns = ["Ruhedruck", "Cholesterin", "Geschlecht"]
    assert nearest("Ruhedruk", columns) == "Ruhedruck"
    assert nearest("CHOLESTERIN", columns) == "Cholesterin"
    assert nearest("amount", columns) is None
    assert nearest("x" * 10_000, columns) is None


def test_a_message_ends_with_it_or_with_nothing() -> None:
    assert meant("statu", ["status", "start"]) == "; did you mean status?"
    assert meant("statu", []) == ""
    assert meant("tab", ["ta\tb"]) == "; did you mean 'ta\\tb'?"
