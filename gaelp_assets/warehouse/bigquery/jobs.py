"""Jobs of BigQuery: deterministic ids, labels, limits, and what is tried again when an answer is lost or a server is busy.

Every job has an id that its caller derives from what the job does. A second call for the same work finds the job, and BigQuery
refuses to do it twice (https://cloud.google.com/bigquery/docs/reliability-intro).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery import errors, retry
from gaelp_assets.warehouse.bigquery.resources import Resource, clean_labels
from gaelp_assets.warehouse.reader import TooSlowError

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud import bigquery

# What one statement may read at most; at 6.25 USD per TiB on demand this is about 0.6 USD.
MAX_BYTES_BILLED: Final = 100 * 1024**3
# How long one call of the API, with all of its repetitions, may take, in seconds.
API_DEADLINE: Final = 90.0
JOB_ATTEMPTS: Final = 5
# Within one upload; then the whole upload is begun again, unless its job is found.
UPLOAD_RETRIES: Final = 3

ClientFactory: TypeAlias = "Callable[[], bigquery.Client]"
"""Makes Google's client."""
QueryParameter: TypeAlias = "bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter"
FoundJob: TypeAlias = (
    "bigquery.QueryJob | bigquery.LoadJob | bigquery.CopyJob | bigquery.ExtractJob | bigquery.UnknownJob"
)
T = TypeVar("T")
J = TypeVar("J", "bigquery.QueryJob", "bigquery.LoadJob")


def client_factory(address: BigQueryAddress) -> ClientFactory:
    """The one place where a client is made: with the application default credentials or, for an emulator, none."""

    def make() -> bigquery.Client:
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        if address.emulator is None:
            return bigquery.Client(project=address.project, location=address.location)
        return bigquery.Client(
            project=address.project,
            location=address.location,
            credentials=cast("Any", AnonymousCredentials)(),
            client_options=ClientOptions(api_endpoint=address.emulator),
        )

    return make


class Jobs:
    """Runs jobs for one project; made without any I/O, and used by any number of threads."""

    def __init__(
        self,
        factory: ClientFactory,
        where: str,
        *,
        max_bytes_billed: int = MAX_BYTES_BILLED,
        deadline: float = API_DEADLINE,
        storage_api: bool = True,
    ) -> None:
        self._factory = factory
        self._where = where
        self._max_bytes_billed = max_bytes_billed
        self._deadline = deadline
        self.storage_api = storage_api
        """Whether large results may come through Google's Storage Read API: not those of an emulator, beside which it would be Google's."""
        self._lock = threading.Lock()
        self._client: bigquery.Client | None = None

    @property
    def client(self) -> bigquery.Client:
        """Google's client, made when it is first needed.

        Raises:
            GaelpError: nobody has signed in.
        """
        with self._lock:
            if self._client is None:
                with errors.bigquery_errors("sign in", self._where):
                    self._client = self._factory()
            return self._client

    @property
    def retry(self) -> Retry:
        """How calls of the API are repeated: only what can pass, with growing random pauses, within the deadline."""
        from google.api_core.retry import Retry

        return Retry(
            predicate=errors.can_pass,
            initial=retry.FIRST_PAUSE,
            maximum=retry.LONGEST_PAUSE,
            multiplier=2,
            timeout=self._deadline,
        )

    def call(
        self, action: str, function: Callable[..., T], *arguments: object, **options: object
    ) -> T | None:
        """One call of the API; `None` if what it is about does not exist.

        Raises:
            TransientError: no answer within the deadline.
            GaelpError: refused.
        """
        from google.api_core.exceptions import NotFound

        with errors.bigquery_errors(action, self._where):
            try:
                return function(*arguments, retry=self.retry, **options)
            except NotFound as error:
                if "Not found: Project" in str(error):
                    raise
                return None

    def query(
        self,
        sql: str,
        job_id: str,
        action: str,
        *,
        parameters: Sequence[QueryParameter] = (),
        labels: Mapping[str, str] | None = None,
        destination: str | None = None,
        time_limit: float | None = None,
    ) -> bigquery.QueryJob:
        """A finished query (or script) of that id; with `destination`, its result replaces that table.

        BigQuery is asked to end it after `time_limit` seconds.

        Raises:
            WriteConflict: the transaction was cancelled in favour of another one.
            TransientError: it failed again and again for reasons that can pass.
            GaelpError: it is wrong, or not allowed, or takes longer than the limit.
        """
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=list(parameters),
            labels=clean_labels(labels or {}),
            maximum_bytes_billed=self._max_bytes_billed,
            use_legacy_sql=False,
        )
        if destination is not None:
            config.destination = destination
            config.write_disposition = bigquery.WriteDisposition.WRITE_TRUNCATE
        if time_limit is not None:
            config.job_timeout_ms = round(time_limit * 1000)

        def submit(attempt_id: str) -> bigquery.QueryJob:
            return self.client.query(
                sql,
                job_config=config,
                job_id=attempt_id,
                job_retry=None,
                retry=self.retry,
                api_method="INSERT",
            )

        began = time.monotonic()
        try:
            return self._run(submit, job_id, action)
        except GaelpError:
            # What BigQuery says of a job that it has ended is a text, which nothing promises.
            if time_limit is not None and time.monotonic() >= began + time_limit:
                raise TooSlowError(time_limit) from None
            raise

    def load(
        self, file: Path, table: str, schema: Sequence[Resource], job_id: str, labels: Mapping[str, str]
    ) -> bigquery.LoadJob:
        """A finished load job of that id: the Parquet file replaces the table. Load jobs are free and atomic.

        Raises:
            TransientError: it failed again and again for reasons that can pass.
            GaelpError: it is wrong, or not allowed.
        """
        from google.cloud import bigquery

        parquet = cast("Any", bigquery.ParquetOptions)()
        parquet.enable_list_inference = True
        config = bigquery.LoadJobConfig(
            schema=[bigquery.SchemaField.from_api_repr(field) for field in schema],
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            labels=clean_labels(labels),
        )
        config.parquet_options = parquet

        def submit(attempt_id: str) -> bigquery.LoadJob:
            with file.open("rb") as stream:
                return self.client.load_table_from_file(
                    stream, table, job_config=config, job_id=attempt_id, num_retries=UPLOAD_RETRIES
                )

        return self._run(submit, job_id, f"load {table}")

    def _run(self, submit: Callable[[str], J], job_id: str, action: str) -> J:
        """Submits a job under its id, or finds the one that has it; a job that failed for a passing reason is followed by another."""
        for attempt in range(1, JOB_ATTEMPTS + 1):
            attempt_id = f"{job_id}-{attempt}"
            with errors.bigquery_errors(action, self._where):
                try:
                    job = self._submitted(submit, attempt_id)
                    self._wait(job)
                except Exception as error:
                    if attempt == JOB_ATTEMPTS or not errors.can_pass(error):
                        raise
                else:
                    return job
            time.sleep(retry.pause_after(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _submitted(self, submit: Callable[[str], J], job_id: str) -> J:
        """The job of that id, submitted at most once: where the answer was lost, the id tells whether it arrived."""
        from google.api_core.exceptions import Conflict

        for attempt in range(1, JOB_ATTEMPTS + 1):
            try:
                return submit(job_id)
            except Conflict:
                return cast("J", self.client.get_job(job_id, retry=self.retry))
            except Exception as error:
                if not errors.can_pass(error) and not errors.session_gone(error):
                    raise
                found = self._find(job_id)
                if found is not None:
                    return cast("J", found)
                if attempt == JOB_ATTEMPTS:
                    raise
            time.sleep(retry.pause_after(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _find(self, job_id: str) -> FoundJob | None:
        from google.api_core.exceptions import NotFound

        try:
            return self.client.get_job(job_id, retry=self.retry)
        except NotFound:
            return None

    def _wait(self, job: bigquery.QueryJob | bigquery.LoadJob) -> None:
        """Waits until the job is done, however often an answer is lost; raises what it failed with."""
        for attempt in range(1, JOB_ATTEMPTS + 1):
            try:
                job.result(retry=self.retry, **({"job_retry": None} if job.job_type == "query" else {}))
            except Exception as error:
                if job.error_result is not None or attempt == JOB_ATTEMPTS or not errors.can_pass(error):
                    raise
                time.sleep(retry.pause_after(attempt))
            else:
                return


def as_script(statements: Sequence[str]) -> str:
    """Statements as one text to run."""
    return ";\n".join(statements) + ";"
