from fieldfare.server.superlink.facts import ControlTarget, Task


def test_no_secret_is_shown() -> None:
    assert "hush" not in repr(ControlTarget("127.0.0.1:1", b"pem", "hush"))
    assert "hush" not in repr(Task(1, "hush"))
