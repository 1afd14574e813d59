from fieldfare.client.custodian.ports import Inbox, NoInbox


def test_a_simulation_keeps_nothing_of_what_arrives() -> None:
    inbox: Inbox = NoInbox()
    assert vars(inbox) == {}
