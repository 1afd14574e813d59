"""An invented world of people, banks, NGOs and a hotline.

Imports client.records and client.typologies.
"""
