"""Alerts, their files and drafts of reports.

Imports scoring, journal, home and below.
"""
