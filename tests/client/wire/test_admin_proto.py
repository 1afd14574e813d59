"""What the administration of a custodian can be asked: no call of it decides."""

from fieldfare.client.wire import admin_pb2


def test_administration_has_these_calls_and_no_other() -> None:
    (service,) = admin_pb2.DESCRIPTOR.services_by_name.values()
    assert service.full_name == "fieldfare.admin.v1.Administration"
    assert [method.name for method in service.methods] == ["Status", "Reload"]


def test_nothing_can_be_told_to_it_but_to_look() -> None:
    for name, message in admin_pb2.DESCRIPTOR.message_types_by_name.items():
        if name.endswith("Request"):
            assert not list(message.fields), name
