"""How much of a project's daily limits is used: asked of BigQuery's own list of jobs, and remembered for some minutes.

The list knows the jobs of everybody in the project, failed and repeated ones too. The platform's ledger would not do: it knows
neither those nor rebuilds, whose batches keep the moment at which they were first loaded.
"""

from __future__ import annotations

import datetime as dt
import threading
from typing import Final

from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.bigquery import errors
from gaelp_assets.warehouse.bigquery.dialect import literal, quote
from gaelp_assets.warehouse.bigquery.jobs import Jobs
from gaelp_assets.warehouse.quotas import Limits, QuotaLeft, day_began

LIMITS: Final = Limits(load_jobs=100_000, writers_per_table=22)
# A question is billed as 10 MiB at least. Sensors look every few seconds; in five minutes they start a few hundred load jobs at most.
REMEMBERED: Final = dt.timedelta(minutes=5)
# Seconds. The caller has other work, which does not wait for this: a tick of a sensor may take 60.
PATIENCE: Final = 10.0
USAGE_ROLE: Final = "roles/bigquery.resourceViewer"


class Usage:
    """The head-room of one project and location; used by any number of threads."""

    def __init__(self, jobs: Jobs, project: str, location: str, limits: Limits) -> None:
        self._jobs = jobs
        self._project = project
        self._location = location
        self._limits = limits
        self._lock = threading.Lock()
        self._known: QuotaLeft | None = None

    def quota_left(self) -> QuotaLeft:
        """What is left of the day's limits; what is used is None, with the reason, if BigQuery does not say."""
        now = dt.datetime.now(dt.UTC)
        with self._lock:
            known = self._known
            if known is None or now - known.at > REMEMBERED or now >= known.renewed_at:
                known = self._known = self._asked(now)
            return known

    def _asked(self, now: dt.datetime) -> QuotaLeft:
        from google.api_core.retry import Retry
        from google.cloud import bigquery

        text = load_jobs_query(self._project, self._location, day_began(now))
        config = bigquery.QueryJobConfig(labels={"purpose": "quota_left"}, use_legacy_sql=False)
        retry = Retry(predicate=errors.can_pass, timeout=PATIENCE)
        try:
            with errors.bigquery_errors("count the day's load jobs", self._project):
                client = self._jobs.client
                job = client.query(text, job_config=config, retry=retry, timeout=PATIENCE, job_retry=None)
                rows = list(job.result(retry=retry, timeout=PATIENCE, job_retry=None))
        except (GaelpError, TimeoutError) as error:
            because = str(error) or "BigQuery did not answer in time"
            return QuotaLeft(self._limits, now, None, f"{because} Looking takes {USAGE_ROLE} on the project.")
        return QuotaLeft(self._limits, now, int(rows[0][0]))


def load_jobs_query(project: str, location: str, since: dt.datetime) -> str:
    """How many load jobs of a project and location were begun since a moment.

    https://cloud.google.com/bigquery/docs/information-schema-jobs; needs `bigquery.jobs.listAll`.
    """
    region = f"{quote(project)}.{quote(f'region-{location.lower()}')}"
    return (
        f"SELECT COUNTIF(job_type = 'LOAD') AS load_jobs FROM {region}.INFORMATION_SCHEMA.JOBS "
        f"WHERE creation_time >= {literal(since)}"
    )
