"""What an institution's people are told of, by a process that opens no record.

Imports home, journal, node, wire and shared.notices; reaches no reader of records.
"""
