"""What BigQuery's errors mean for the project: who has to do what, or whether trying again helps.

The reasons are those of https://cloud.google.com/bigquery/docs/error-messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from gaelp_assets.errors import GaelpError, Problem, TransientError

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError

ROLES: Final = (
    "roles/bigquery.jobUser on the project and, on its datasets, roles/bigquery.dataViewer to read "
    "or roles/bigquery.dataEditor to load"
)
CLOCK_REASONS: Final = frozenset(
    {"backendError", "internalError", "jobBackendError", "jobInternalError", "tableUnavailable"}
)
RATE_REASONS: Final = frozenset({"rateLimitExceeded", "jobRateLimitExceeded", "userRateLimitExceeded"})
CHANGED: Final = "the ledger changed since the write was planned"
"""What a transaction's guard says when it stops the transaction."""
KEY_ELSEWHERE: Final = "another slice holds a key of the write"
"""What the guard of keys says: the write has to be settled with the rows of other slices."""
# Two transactions that change the same table: BigQuery cancels one. The second form is how DuckDB, under an emulator, says it.
_CANCELLED = re.compile(
    r"aborted due to concurrent|could not serialize|conflict on (update|tuple)|write-write conflict|transaction conflict",
    re.I,
)
# A message with a position is the analyzer's and speaks of names and types. Others may quote a row's values.
_SPEAKS_OF_SQL = re.compile(
    r"\[\d+:\d+\]|^Syntax error|Unrecognized name|Not found:|partition elimination", re.I
)
_LENGTH: Final = 300
_NEXT_STEPS: Final[Mapping[str, tuple[str, str]]] = {
    "bytesBilledLimitExceeded": (
        "a query that reads less than the limit",
        "Name fewer dates or columns.",
    ),
    "billingTierLimitExceeded": ("a query that computes less", "Aggregate fewer rows at once."),
    "billingNotEnabled": ("a project with billing", "Enable billing for the project."),
    "accessNotConfigured": ("the BigQuery API", "Run `gcloud services enable bigquery.googleapis.com`."),
    "quotaExceeded": ("quota that is left", "Daily quotas are renewed at midnight Pacific time."),
}


class WriteConflict(Exception):
    """Another write changed the same table first, and BigQuery cancelled this one: nothing is written, plan again."""


class KeyElsewhere(WriteConflict):
    """Another slice of the table holds a key that the write would load: nothing is written, settle it with the rows of other slices."""


@contextmanager
def bigquery_errors(action: str, where: str) -> Iterator[None]:
    """Turns errors of Google's client into the project's; what is none of them passes."""
    try:
        yield
    except Exception as error:
        explained = bigquery_error(error, action, where)
        if explained is None:
            raise
        raise explained from error


def bigquery_error(error: Exception, action: str, where: str) -> Exception | None:
    """The project's error (or `WriteConflict`) for one of Google's client, its transport or its credentials; None if it is none of
    theirs."""
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError, TransportError

    cause: object = error.cause if isinstance(error, exceptions.RetryError) and error.cause else error
    if isinstance(cause, GoogleAuthError) and not isinstance(cause, TransportError) and not cause.retryable:
        return GaelpError(
            Problem(
                f"no usable credentials for BigQuery: {message(cause)}",
                where,
                "application default credentials",
                "Run `gcloud auth application-default login`, or let GOOGLE_APPLICATION_CREDENTIALS name a key file.",
            )
        )
    if isinstance(cause, exceptions.GoogleAPICallError) and not can_pass(cause):
        return _refused(cause, action, where)
    passing = (
        exceptions.GoogleAPICallError, exceptions.RetryError, GoogleAuthError, requests.RequestException, ConnectionError,
        TimeoutError,
    )  # fmt: skip
    if not isinstance(cause, passing):
        return None
    return TransientError(
        Problem(
            f"cannot {action} although it was tried again and again: {message(cause)}",
            where,
            "an answer of BigQuery",
            "Check the network and https://status.cloud.google.com; it is tried again later.",
        )
    )


def can_pass(error: object) -> bool:
    """Whether Google's documentation recommends to try again."""
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import TransportError

    if isinstance(
        error,
        exceptions.RetryError
        | requests.ConnectionError
        | requests.Timeout
        | ConnectionError
        | TransportError,
    ):
        return True
    if not isinstance(error, exceptions.GoogleAPICallError):
        return False
    return bool(reasons(error) & (CLOCK_REASONS | RATE_REASONS)) or int(error.code or 0) in {
        408,
        429,
        500,
        502,
        503,
        504,
    }


def session_gone(error: object) -> bool:
    """Whether an upload went on in a session that is over: as after its last answer was lost."""
    return getattr(error, "code", None) in {404, 410} and "uploadType=resumable" in str(error)


def cancelled(error: object) -> bool:
    """Whether a transaction lost against another one, or was stopped by its own guard."""
    return CHANGED in str(error) or bool(_CANCELLED.search(str(error)))


def reasons(error: object) -> set[str]:
    """The `reason` of each of the answer's errors."""
    return {
        str(detail.get("reason")) for detail in getattr(error, "errors", ()) or () if isinstance(detail, dict)
    }


def message(error: object) -> str:
    """An error's first line, shortened."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    text = text.split("; reason:")[0]
    return text if len(text) <= _LENGTH else text[:_LENGTH] + "..."


def _refused(error: GoogleAPICallError, action: str, where: str) -> Exception:
    found = reasons(error)
    for reason, (expected, remedy) in _NEXT_STEPS.items():
        if reason in found:
            kind = TransientError if reason == "quotaExceeded" else GaelpError
            return kind(Problem(f"cannot {action}: {message(error)}", where, expected, remedy))
    if KEY_ELSEWHERE in str(error):
        return KeyElsewhere(where)
    if cancelled(error):
        return WriteConflict(where)
    code = int(error.code or 0)
    if code in {401, 403}:
        return GaelpError(
            Problem(
                f"cannot {action}: {message(error)}",
                where,
                ROLES,
                f"Grant {ROLES} to the account in use (`gcloud auth list` shows it), and see that the project is the right one.",
            )
        )
    if code == 404:
        return GaelpError(
            Problem(
                f"cannot {action}: {message(error)}",
                where,
                "a project, dataset and table that exist in the location of GAELP_WAREHOUSE",
                "Correct GAELP_WAREHOUSE, or run `gaelp deploy` to make what is missing.",
            )
        )
    text = message(error).removeprefix(f"{code} ")
    if not _SPEAKS_OF_SQL.search(text):
        job = re.search(r"Job ID: (\S+)", str(error))
        text = f"refused ({', '.join(sorted(found)) or code}); the job {job[1] if job else ''} says more to who may read the rows"
    return GaelpError(Problem(f"cannot {action}: {text}", where))
