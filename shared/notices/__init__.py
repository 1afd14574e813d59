"""Notices to people: fixed sentences with ids of studies and runs, by e-mail and webhook.

Imports study, sqlite, system and below. It opens no record, and knows no kind of home.
"""
