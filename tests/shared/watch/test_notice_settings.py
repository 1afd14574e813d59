"""Who is told: addresses that cannot become headers, and no line to another machine without TLS."""

from pathlib import Path

import pytest

from fieldfare.shared.errors import KeysError, StudyError
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.watch.notice_settings import load_notices, webhook_secret

MAIL = """
[mail]
host = "{host}"
sender = "{sender}"
to = ["{to}"]
tls = "{tls}"
{more}
"""
HOOK = """
[[webhook]]
name = "tickets"
url = "{url}"
secret_file = "secret"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "notices.toml"
    path.write_text("format = 1\n" + text)
    return path


def mail(**changed: str) -> str:
    given = {
        "host": "mail.example.org",
        "sender": "fieldfare@example.org",
        "to": "office@example.org",
        "tls": "starttls",
        "more": "",
    }
    return MAIL.format(**given | changed)


@pytest.mark.parametrize(
    "text",
    [
        mail(),
        mail(tls="at once"),
        mail(tls="none", host="127.0.0.1"),
        mail(tls="none", host="localhost"),
        mail(more='user = "fieldfare"\npassword_file = "password"'),
        HOOK.format(url="https://example.org/hook?x=1"),
        HOOK.format(url="http://127.0.0.1:8080/hook"),
        HOOK.format(url="http://[::1]/hook"),
    ],
)
def test_settings_that_are_taken(text: str, tmp_path: Path) -> None:
    found = load_notices(written(tmp_path, text))
    assert (found.mail is not None) or found.webhook


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (mail(tls="none"), "expected .starttls. or .at once."),
        (mail(tls="none", host="127.0.0.1.example.org"), "expected .starttls."),
        (mail(to="a@example.org\\r\\nBcc: b@example.org"), r"mail.to.0"),
        (mail(to="a@example.org, b@example.org"), r"mail.to.0"),
        (mail(to="-oQ/tmp@example.org>"), r"mail.to.0"),
        (mail(sender="Name <a@example.org>"), r"mail.sender"),
        (mail(sender="a@example.org\\n"), r"mail.sender"),
        (mail(host="mail.example.org\\n"), r"mail.host"),
        (mail(more='user = "fieldfare"'), "expected a user and a password_file"),
        (HOOK.format(url="http://example.org/hook"), "expected https"),
        (HOOK.format(url="http://127.0.0.1@example.org/hook"), "expected https"),
        (HOOK.format(url="https://user:word@example.org/"), "without a user"),
        (HOOK.format(url="file:///etc/passwd"), "expected https"),
        (HOOK.format(url="https:///hook"), "with a host"),
        (HOOK.format(url="https://example.org/a\\r\\nX: y"), "webhook"),
        (HOOK.format(url="https://example.org/") * 2, "a name of its own"),
        ('quiet_hours = "never"', "expected hours such as"),
        ("most_an_hour = 21", "most_an_hour: expected no such key; it is always 20"),
        ("node_minutes = 1", "node_minutes: expected no such key; it is always 15"),
        ("certificate_days = 20", "certificate_days: expected no such key; it is always 30"),
        ("budget_share = 0.2", "budget_share: expected no such key; it is always 0.1"),
        ('addresses = "mine"', "expected no such key"),
    ],
)
def test_settings_that_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=said):
        load_notices(written(tmp_path, text))


def test_what_earlier_files_said_of_themselves_is_read_where_it_is_what_holds(
    tmp_path: Path,
) -> None:
    text = "most_an_hour = 20\nnode_minutes = 15\ncertificate_days = 30\nbudget_share = 0.1\n"
    assert load_notices(written(tmp_path, text)) == load_notices(written(tmp_path, ""))


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\n", b"secret" * 4),
        (b"whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", b"secret" * 4),
        (b"c2VjcmV0", None),
        (b"no base64 at all, no base64 at all", None),
        (b"", None),
    ],
)
def test_a_secret_is_long_enough_or_refused(
    content: bytes, secret: bytes | None, tmp_path: Path
) -> None:
    create_private(tmp_path / "secret", content)
    if secret is not None:
        assert webhook_secret(tmp_path / "secret") == secret
        return
    with pytest.raises(KeysError, match="expected a secret of 24 bytes") as raised:
        webhook_secret(tmp_path / "secret")
    assert "base64 at" not in str(raised.value)


def test_a_secret_that_others_read_is_refused(tmp_path: Path) -> None:
    create_private(tmp_path / "secret", b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(KeysError):
        webhook_secret(tmp_path / "secret")
