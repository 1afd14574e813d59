"""Service files are written below a root, known again, and never taken from who changed them."""

import re
from pathlib import Path

import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.service_files import (
    FileState,
    ServiceFile,
    ServiceTerms,
    next_steps,
    own_command,
    remove_service_files,
    service_files,
    write_service_files,
)

PARTS = ("custodian", "node", "coordinator")
TERMS = ServiceTerms(Path("/opt/fieldfare/bin/fieldfare"), Path("/var/lib/fieldfare"))


def text(part: str, terms: ServiceTerms = TERMS) -> str:
    return "\n".join(one.content.decode() for one in service_files((part,), terms))


def lines(part: str, terms: ServiceTerms = TERMS) -> list[str]:
    return text(part, terms).splitlines()


@pytest.mark.parametrize("part", PARTS)
def test_every_place_is_filled_in(part: str) -> None:
    assert re.findall(r"@[A-Z_]+@", text(part)) == []
    assert "NoNewPrivileges=yes" in lines(part)


def test_custodian_and_node_are_two_users_who_share_one_group() -> None:
    custodian, node = lines("custodian"), lines("node")
    assert "User=fieldfare" in custodian
    assert "User=fieldfare-node" in node
    assert "InaccessiblePaths=-/var/lib/fieldfare" in node
    assert "InaccessiblePaths=-/var/lib/fieldfare-node" in custodian
    assert "SupplementaryGroups=fieldfare-socket" in node
    assert "d /run/fieldfare 0750 fieldfare fieldfare-socket -" in custodian
    assert "d /var/lib/fieldfare 0700 fieldfare fieldfare -" in custodian


def test_a_node_may_renew_its_certificate_and_write_nothing_else_of_its_folder() -> None:
    node = lines("node")
    assert "ReadWritePaths=/run/fieldfare-node -/var/lib/fieldfare-node/link" in node
    assert "d /var/lib/fieldfare-node/link 0700 fieldfare-node fieldfare-node -" in node


def test_a_custodian_has_no_network_unless_records_come_over_one() -> None:
    over = ServiceTerms(TERMS.command, TERMS.home, network=True)
    assert "PrivateNetwork=yes" in lines("custodian")
    assert "PrivateNetwork=yes" not in lines("custodian", over)
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX" in lines("custodian", over)


def test_a_passphrase_reaches_who_holds_a_key_and_not_the_node() -> None:
    terms = ServiceTerms(TERMS.command, TERMS.home, passphrase_file=Path("/etc/fieldfare/secret"))
    given = "LoadCredential=passphrase:/etc/fieldfare/secret"
    assert given in lines("custodian", terms)
    assert given in lines("coordinator", terms)
    assert given not in lines("node", terms)
    assert "PASSPHRASE" not in text("custodian")


@pytest.mark.parametrize("path", ["relative", "/with space", "/percent%h", "/quote'", "/a\nb"])
def test_a_path_that_systemd_would_read_otherwise_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="expected an absolute path"):
        service_files(PARTS, ServiceTerms(TERMS.command, Path(path)))


def test_files_are_written_known_again_and_removed(tmp_path: Path) -> None:
    files = service_files(PARTS, TERMS)
    assert {one.state(tmp_path) for one in files} == {FileState.ABSENT}
    write_service_files(files, tmp_path)
    assert {one.state(tmp_path) for one in files} == {FileState.SAME}
    modes = {(tmp_path / one.place).stat().st_mode & 0o777 for one in files}
    assert modes == {0o644}
    others = service_files(PARTS, ServiceTerms(TERMS.command, Path("/srv/fieldfare")))
    assert FileState.OLDER in {one.state(tmp_path) for one in others}
    write_service_files(others, tmp_path)
    assert remove_service_files(files, tmp_path) == tuple(one.place for one in files)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert remove_service_files(files, tmp_path) == ()


def test_what_was_changed_by_hand_is_lost_only_when_told(tmp_path: Path) -> None:
    files = service_files(PARTS, TERMS)
    write_service_files(files, tmp_path)
    mine = tmp_path / "etc/systemd/system/fieldfare-node.service"
    mine.write_text(mine.read_text().replace("Restart=on-failure", "Restart=always"))
    others = service_files(PARTS, ServiceTerms(TERMS.command, Path("/srv/fieldfare")))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for act in (write_service_files, remove_service_files):
        with pytest.raises(UsageError, match=r"changed by hand: \S+fieldfare-node.service;"):
            act(others, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_service_files(others, tmp_path, force=True)
    assert {one.state(tmp_path) for one in others} == {FileState.SAME}


def test_no_link_leads_out_of_an_image(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    image = tmp_path / "image"
    image.mkdir()
    (image / "etc").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="found a link"):
        write_service_files([ServiceFile("etc/x.conf", b"x")], image)
    assert list((tmp_path / "outside").iterdir()) == []


def test_no_link_beside_a_file_leads_out_of_an_image(tmp_path: Path) -> None:
    outside, image = tmp_path / "outside", tmp_path / "image"
    outside.write_bytes(b"another's")
    (image / "etc").mkdir(parents=True)
    (image / "etc/.x.conf.new").symlink_to(outside)
    write_service_files([ServiceFile("etc/x.conf", b"x")], image)
    assert outside.read_bytes() == b"another's"
    assert not (image / "etc/x.conf").is_symlink()


@pytest.mark.parametrize("path", ["/", "/etc", "/var/lib", "/var/lib/../../etc"])
def test_no_folder_of_others_is_given_to_the_service(path: str) -> None:
    with pytest.raises(UsageError, match="a folder of its own"):
        service_files(PARTS, ServiceTerms(TERMS.command, Path(path)))


def test_what_lies_in_a_persons_home_is_no_service() -> None:
    assert own_command("/opt/ff/bin/python", "-m") == Path("/opt/ff/bin/fieldfare")
    for place in ("/home/ada/venv/bin/python", "/root/venv/bin/python3"):
        with pytest.raises(UsageError, match="--command"):
            own_command(place, "fieldfare")


def test_a_link_that_leads_into_a_persons_home_is_no_service(tmp_path: Path) -> None:
    (tmp_path / "fieldfare").symlink_to("/root/venv")
    typed = str(tmp_path / "fieldfare" / "bin" / "fieldfare")
    with pytest.raises(UsageError, match="--command"):
        own_command("/root/venv/bin/python", typed)


def test_a_unit_names_the_link_that_an_upgrade_moves(tmp_path: Path) -> None:
    version, link = tmp_path / "fieldfare-0.1.0", tmp_path / "fieldfare"
    link.symlink_to(version)
    interpreter, typed = str(version / "bin" / "python"), link / "bin" / "fieldfare"
    assert own_command(interpreter, str(typed)) == typed
    assert own_command(interpreter, "/opt/other/bin/fieldfare") == version / "bin" / "fieldfare"
    assert own_command("/opt/ff/bin/python", "/root/bin/fieldfare") == Path("/opt/ff/bin/fieldfare")


def test_what_comes_next_depends_on_where_it_was_written() -> None:
    assert "systemd-sysusers" in next_steps(PARTS, Path("/"))[0]
    assert next_steps(("node",), Path("/mnt"))[0].endswith("fieldfare-node.service")
