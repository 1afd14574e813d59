"""Drafts of reports to a financial intelligence unit, which people finish and file themselves."""
