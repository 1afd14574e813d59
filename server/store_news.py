"""The coordinator's last news: of institutions in a run, to a study, and of results."""

from collections.abc import Mapping
from datetime import datetime

from fieldfare.server.store_database import Tables
from fieldfare.server.store_rows import ApprovalRow, from_micros, to_micros


class NewsTables(Tables):
    """The newest of everything. Failures of the file or the disk are RunErrors."""

    def put_status(self, run: str, institution: str, text: str, at: datetime) -> None:
        """Keep what an institution last did in a run, in words."""
        self._database.rows(
            "REPLACE INTO statuses (run, institution, text, time) VALUES (?, ?, ?, ?)",
            *(run, institution, text, to_micros(at)),
        )

    def statuses(self, run: str) -> Mapping[str, tuple[str, datetime]]:
        """Return what each institution last did and when, sorted by institution."""
        found = self._database.rows(
            "SELECT institution, text, time FROM statuses WHERE run = ? ORDER BY institution", run
        )
        return {name: (text, from_micros(time)) for name, text, time in found}

    def put_metrics(self, run: str, metrics: str) -> None:
        """Keep what a run released of its model's quality: canonical JSON."""
        self._database.rows("REPLACE INTO metrics (run, content) VALUES (?, ?)", run, metrics)

    def metrics(self, run: str) -> str | None:
        """Return what a run released; None before that."""
        found = self._database.rows("SELECT content FROM metrics WHERE run = ?", run)
        return found[0][0] if found else None

    def put_approval(
        self, study: str, institution: str, text: str, envelope: bytes, at: datetime
    ) -> None:
        """Keep what an institution last said to a study; the envelope may be empty."""
        self._database.rows(
            "REPLACE INTO approvals (study, institution, text, envelope, time)"
            " VALUES (?, ?, ?, ?, ?)",
            *(study, institution, text, envelope, to_micros(at)),
        )

    def approvals(self, study: str) -> Mapping[str, ApprovalRow]:
        """Return what each institution last said to a study, sorted by institution."""
        found = self._database.rows(
            "SELECT institution, text, envelope, time FROM approvals WHERE study = ?"
            " ORDER BY institution",
            study,
        )
        return {
            name: ApprovalRow(text, envelope, from_micros(time))
            for name, text, envelope, time in found
        }

    def put_last_reply(self, institution: str, envelope: bytes) -> None:
        """Keep an institution's newest signed reply, over all runs and studies."""
        self._database.rows(
            "REPLACE INTO last_replies (institution, envelope) VALUES (?, ?)",
            *(institution, envelope),
        )

    def last_replies(self) -> Mapping[str, bytes]:
        """Return the newest signed reply of each institution, sorted by institution."""
        return dict(
            self._database.rows(
                "SELECT institution, envelope FROM last_replies ORDER BY institution"
            )
        )

    def put_undelivered(self, institution: str, run: str) -> None:
        """Keep in mind that an institution has yet to receive a run's model."""
        self._database.rows(
            "INSERT INTO undelivered (institution, run) VALUES (?, ?) ON CONFLICT DO NOTHING",
            *(institution, run),
        )

    def undelivered(self, institution: str) -> tuple[str, ...]:
        """Return the runs whose model an institution has yet to receive, oldest first."""
        found = self._database.rows(
            "SELECT run FROM undelivered JOIN runs USING (run) WHERE institution = ?"
            " ORDER BY created, run",
            institution,
        )
        return tuple(run for (run,) in found)

    def set_delivered(self, institution: str, run: str) -> None:
        """Note that an institution has received a run's model."""
        self._database.rows(
            "DELETE FROM undelivered WHERE institution = ? AND run = ?", institution, run
        )
