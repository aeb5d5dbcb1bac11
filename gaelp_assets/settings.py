"""The only reader of the environment: where the gateway and the warehouse are, and since when there is data."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from gaelp_assets.errors import GaelpError, Problem, unknown

T = TypeVar("T")
CHECKOUT: Final = Path(__file__).resolve().parent.parent
VARIABLES: Final = {
    "GAELP_HOME": "a folder, where the embedded default keeps everything",
    "GAELP_GATEWAY": "file:///folder or gs://bucket/prefix",
    "GAELP_WAREHOUSE": "duckdb:///file or bigquery://project?location=US&dataset_prefix=gaelp_",
    "GAELP_FIRST_DATE": "YYYY-MM-DD, the first day of which rows are taken",
    "GAELP_SHARED": "group, to let the group of the folders read and write too",
}
DEFAULT_FIRST_DATE: Final = dt.date(2025, 1, 1)


@dataclass(frozen=True)
class LocalGateway:
    """An export gateway in a folder tree."""

    folder: Path


@dataclass(frozen=True)
class GcsGateway:
    """An export gateway under a prefix of a Google Cloud Storage bucket."""

    bucket: str
    prefix: str


@dataclass(frozen=True)
class DuckDBAddress:
    """The embedded warehouse: one DuckDB file."""

    file: Path


@dataclass(frozen=True)
class BigQueryAddress:
    """A BigQuery project; every dataset's name starts with the prefix."""

    project: str
    location: str
    dataset_prefix: str


@dataclass(frozen=True)
class Settings:
    """Everything that is configured from outside."""

    home: Path
    gateway: LocalGateway | GcsGateway
    warehouse: DuckDBAddress | BigQueryAddress
    first_date: dt.date
    shared: bool = False
    """Whether what the platform makes on disk is for a group too, rather than for its owner alone."""

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps its runs and events; `DAGSTER_HOME` is set to it."""
        return self.home / "dagster"

    @property
    def staging(self) -> Path:
        """Where proven rows wait, as Parquet, for their commit."""
        return self.home / "staging"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that the environment (or the given mapping) says.

    Raises:
        GaelpError: a `GAELP_` variable is unknown or has a wrong value; all problems at once.
    """
    env = os.environ if environ is None else environ
    problems = [
        unknown("environment variable", name, VARIABLES)
        for name in sorted(env)
        if name.startswith("GAELP_") and name not in VARIABLES
    ]
    home = Path(env.get("GAELP_HOME") or CHECKOUT / ".gaelp").expanduser().absolute()
    if home.exists() and not home.is_dir():
        problems.append(_wrong("GAELP_HOME", str(home), "is not a folder"))

    def read(name: str, parse: Callable[[str], T], default: T) -> T:
        value = env.get(name)
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            problems.append(_wrong(name, value, str(error)))
            return default

    gateway: LocalGateway | GcsGateway = LocalGateway(home / "export_gateway")
    warehouse: DuckDBAddress | BigQueryAddress = DuckDBAddress(home / "warehouse.duckdb")
    settings = Settings(
        home=home,
        gateway=read("GAELP_GATEWAY", _gateway, gateway),
        warehouse=read("GAELP_WAREHOUSE", _warehouse, warehouse),
        first_date=read("GAELP_FIRST_DATE", dt.date.fromisoformat, DEFAULT_FIRST_DATE),
        shared=read("GAELP_SHARED", _shared, default=False),
    )
    if problems:
        raise GaelpError(*problems)
    return settings


def bigquery_emulator(environ: Mapping[str, str] | None = None) -> str | None:
    """The address of a BigQuery emulator that `BIGQUERY_EMULATOR_HOST` names, with its scheme; None for BigQuery itself."""
    host = (os.environ if environ is None else environ).get("BIGQUERY_EMULATOR_HOST")
    return (host if "://" in host else f"http://{host}") if host else None


def _wrong(name: str, value: str, why: str) -> Problem:
    return Problem(f"{value!r} {why}", where=name, expected=VARIABLES[name])


def _shared(value: str) -> bool:
    if value != "group":
        raise ValueError("is not a way to share")
    return True


def _gateway(value: str) -> LocalGateway | GcsGateway:
    url = urlsplit(value)
    if url.scheme == "file" and url.path.startswith("/") and not url.netloc:
        return LocalGateway(Path(unquote(url.path)))
    if url.scheme == "gs" and url.netloc:
        return GcsGateway(url.netloc, url.path.strip("/"))
    raise ValueError("is not the address of a gateway")


def _warehouse(value: str) -> DuckDBAddress | BigQueryAddress:
    url = urlsplit(value)
    if url.scheme == "duckdb" and url.path.startswith("/") and not url.netloc and not url.query:
        return DuckDBAddress(Path(unquote(url.path)))
    if url.scheme == "bigquery" and url.netloc and not url.path.strip("/"):
        options = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
        location = options.pop("location", "US")
        prefix = options.pop("dataset_prefix", "")
        if options:
            raise ValueError(f"has the unknown option {min(options)!r}")
        if not re.fullmatch(r"[A-Za-z0-9_]*", prefix):
            raise ValueError(
                "has a dataset_prefix with other characters than letters, digits and underscores"
            )
        return BigQueryAddress(url.netloc, location, prefix)
    raise ValueError("is not the address of a warehouse")
