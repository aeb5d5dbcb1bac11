"""What Google Cloud Storage's errors mean for the project: who has to do what, or whether trying again helps.

The reasons are those of https://cloud.google.com/storage/docs/json_api/v1/status-codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from gaelp_assets.errors import GaelpError, Problem, TransientError

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError

STORAGE_ROLE: Final = "roles/storage.objectUser"
_RATE_LIMITS: Final = {"rateLimitExceeded", "userRateLimitExceeded"}
_HOLDS: Final = {"objectUnderActiveHold", "retentionPolicyNotMet"}
_MESSAGE_LENGTH: Final = 300


@contextmanager
def storage_errors(action: str, where: str, account: str) -> Iterator[None]:
    """Turns errors of Google's client into the project's; every other exception passes.

    A 404 or 412 that the caller has not dealt with is about the bucket.
    """
    try:
        yield
    except Exception as error:
        explained = storage_error(error, action, where, account)
        if explained is None:
            raise
        raise explained from error


def storage_error(error: Exception, action: str, where: str, account: str) -> GaelpError | None:
    """The project's error for one of Google's client, its transport or its credentials; None if it is none of theirs."""
    import requests
    import urllib3
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud.storage.exceptions import DataCorruption

    cause = error.cause if isinstance(error, exceptions.RetryError) else error
    if isinstance(cause, GoogleAuthError) and not isinstance(cause, TransportError) and not cause.retryable:
        return no_credentials(cause, where)
    if isinstance(cause, exceptions.GoogleAPICallError) and not _can_pass(cause):
        return _refused(cause, action, where, account)
    passing = (
        exceptions.GoogleAPICallError, exceptions.RetryError, GoogleAuthError, DataCorruption,
        requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError,
    )  # fmt: skip
    if not isinstance(error, passing):
        return None
    gave_up = " although it was tried again and again" if isinstance(error, exceptions.RetryError) else ""
    return TransientError(
        Problem(
            f"cannot {action}{gave_up}: {_message(cause)}",
            where,
            "an answer of Google Cloud Storage",
            "Check the network and https://status.cloud.google.com; it is tried again later.",
        )
    )


def no_credentials(error: Exception | None, where: str) -> GaelpError:
    """The error of somebody who has not signed in."""
    return GaelpError(
        Problem(
            f"no usable credentials for Google Cloud Storage: {_message(error)}",
            where,
            "application default credentials",
            "Run `gcloud auth application-default login`, or let GOOGLE_APPLICATION_CREDENTIALS name a key file.",
        )
    )


def account_of(credentials: object) -> str:
    """Whose credentials they are, as far as they tell, for messages."""
    for attribute in ("service_account_email", "signer_email", "account"):
        value = getattr(credentials, attribute, None)
        if isinstance(value, str) and "@" in value:
            return value
    return "the account in use (`gcloud auth list` shows it)"


def _can_pass(error: GoogleAPICallError) -> bool:
    """Whether Google's documentation recommends to try again."""
    code = int(error.code or 0)
    return code in {408, 429} or code >= 500 or (code == 403 and bool(_reasons(error) & _RATE_LIMITS))


def _refused(error: GoogleAPICallError, action: str, where: str, account: str) -> GaelpError:
    what = f"cannot {action}: {_message(error)}"
    if error.code == 401:
        return no_credentials(error, where)
    if error.code == 403 and _reasons(error) & _HOLDS:
        return GaelpError(
            Problem(
                what,
                where,
                "objects that can be moved",
                "Files are moved through the gateway: lift the bucket's retention policy or the hold, or use another bucket.",
            )
        )
    if error.code == 403:
        return GaelpError(
            Problem(
                what,
                where,
                f"the role {STORAGE_ROLE} on the bucket",
                f"Grant {STORAGE_ROLE} on the bucket to {account}.",
            )
        )
    if error.code == 404:
        bucket = where.removeprefix("gs://").partition("/")[0]
        return GaelpError(
            Problem(
                f"there is no bucket {bucket!r}, or it may not be seen",
                where,
                "an existing bucket",
                f"Correct GAELP_GATEWAY, or make the bucket: `gcloud storage buckets create gs://{bucket}`.",
            )
        )
    return GaelpError(Problem(what, where))


def _reasons(error: GoogleAPICallError) -> set[str]:
    """The `reason` of each of the answer's errors; media requests hand on the answer alone."""
    details = list(error.errors or [])
    if not details and error.response is not None:
        try:
            details = error.response.json()["error"]["errors"]
        except (ValueError, LookupError, TypeError):
            details = []
    return {str(detail.get("reason")) for detail in details if isinstance(detail, dict)}


def _message(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MESSAGE_LENGTH else text[:_MESSAGE_LENGTH] + "..."
