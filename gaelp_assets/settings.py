"""The only reader of the environment: where the catalogue, the gateway and the warehouse are, and since when there is data.

A setting comes from its environment variable, else from `gaelp.toml` in the folder where the process was started, else from `gaelp.toml`
in the home, else it has its default.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from gaelp_assets.config_file import FILE_NAME, PREFIX, ConfigFile, Given, read_config_file
from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.openlineage_settings import (
    DEFAULT_NAMESPACE,
    Target,
    from_variable,
    parse_target,
    with_key,
)
from gaelp_assets.openlineage_settings import VARIABLES as OPENLINEAGE_VARIABLES

_log = logging.getLogger(__name__)

T = TypeVar("T")
CHECKOUT: Final = Path(__file__).resolve().parent.parent
"""The folder that holds the package: a checkout of the repository, if `is_checkout` says so, or else where packages are installed."""
LOCATION: Final = "gaelp_assets"
"""The name of Dagster's code location: run history and sensor state are kept by it."""
VARIABLES: Final = {
    "GAELP_HOME": "a folder, where the embedded default keeps everything",
    "GAELP_CATALOG": f"folders of relations, the first read first, with {os.pathsep!r} between them",
    "GAELP_GATEWAY": "file:///folder or gs://bucket/prefix",
    "GAELP_WAREHOUSE": "duckdb:///file or bigquery://project?location=US&dataset_prefix=gaelp_",
    "GAELP_FIRST_DATE": "YYYY-MM-DD, the first day of which rows are taken",
    "GAELP_QUERY_SECONDS": "a number of seconds greater than 0, after which a query of yours is given up",
    "GAELP_SHARED": "group, to let the group of the folders read and write too",
    "GAELP_KAFKA": "host:port of Kafka brokers, with ',' between them, that streams are read from",
    "GAELP_KAFKA_CONFIG": "a file of librdkafka's settings, name=value in each line, such as those of the login",
    "GAELP_PUBSUB": "the Google Cloud project that Pub/Sub subscriptions are of; BigQuery's project if left out",
    "GAELP_STREAM_KEY": "the key that `gaelp stream keys add` has shown, for a recorder that pushes to a receiver",
    "GAELP_BEAM": "the Python of an environment with Apache Beam, as `make setup-beam` makes one: .venv-beam/bin/python",
    "GAELP_OPENLINEAGE": "http://collector:5000 or file:///folder/events.ndjson, where OpenLineage events of loads and refreshes go",
}
FOLDERS: Final = frozenset({"GAELP_HOME", "GAELP_CATALOG", "GAELP_KAFKA_CONFIG", "GAELP_BEAM"})
"""The variables that name folders or files."""
DEFAULT: Final = "default"
ENVIRONMENT: Final = "environment"
EMULATOR_VARIABLE: Final = "BIGQUERY_EMULATOR_HOST"
DEFAULT_FIRST_DATE: Final = dt.date(2025, 1, 1)
DEFAULT_QUERY_SECONDS: Final = 300.0


@dataclass(frozen=True)
class LocalGateway:
    """An export gateway in a folder tree."""

    folder: Path

    @property
    def url(self) -> str:
        """As in `GAELP_GATEWAY`."""
        return self.folder.as_uri()


@dataclass(frozen=True)
class GcsGateway:
    """An export gateway under a prefix of a Google Cloud Storage bucket."""

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """As in `GAELP_GATEWAY`."""
        return f"gs://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True)
class DuckDBAddress:
    """The embedded warehouse: one DuckDB file."""

    file: Path

    @property
    def url(self) -> str:
        """As in `GAELP_WAREHOUSE`."""
        return self.file.as_uri().replace("file:", "duckdb:", 1)


@dataclass(frozen=True)
class BigQueryAddress:
    """A BigQuery project; every dataset's name starts with the prefix."""

    project: str
    location: str
    dataset_prefix: str
    emulator: str | None = None
    """The address of an emulator, with its scheme; None for BigQuery itself."""

    @property
    def url(self) -> str:
        """As in `GAELP_WAREHOUSE`."""
        return f"bigquery://{self.project}?location={self.location}&dataset_prefix={self.dataset_prefix}"


@dataclass(frozen=True)
class Settings:
    """Everything that is configured from outside."""

    home: Path
    gateway: LocalGateway | GcsGateway
    warehouse: DuckDBAddress | BigQueryAddress
    first_date: dt.date
    catalog: tuple[Path, ...] = ()
    """The folders that `GAELP_CATALOG` names, in which users keep relations beside the shipped ones."""
    query_seconds: float = DEFAULT_QUERY_SECONDS
    """How long a query of a user may take."""
    kafka: str | None = None
    """The Kafka brokers that streams are read from, as librdkafka's `bootstrap.servers` has them."""
    kafka_config: Path | None = None
    """A file of librdkafka's settings. It may hold secrets: nothing of it is ever told."""
    pubsub: str | None = None
    """The project of Pub/Sub's subscriptions."""
    stream_key: str | None = field(default=None, repr=False)
    """What a recorder shows a receiver. A secret: nowhere told."""
    openlineage: Target | None = None
    """Where OpenLineage events go; nowhere without it."""
    openlineage_namespace: str = DEFAULT_NAMESPACE
    """The namespace of the jobs that these events name."""
    beam: Path | None = None
    """The Python of an environment with Apache Beam; no asset runs on Beam without it."""
    shared: bool = False
    """Whether what the platform makes on disk is for a group too, rather than for its owner alone."""
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """Where each variable's value came from, by the variable's name: `environment`, `default`, or a file and its line."""
    from_start_folder: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """The values, by variable, that only a process finds that is started in the same folder."""

    @property
    def home_catalog(self) -> Path:
        """The user's own catalogue folder where `GAELP_CATALOG` names none. It need not be there."""
        return self.home / "catalog"

    def folders(self) -> dict[str, str]:
        """The variables that name folders, in full, and what `gaelp.toml` said where this process was started.

        For processes that may stand elsewhere.
        """
        catalog = {"GAELP_CATALOG": os.pathsep.join(map(str, self.catalog))} if self.catalog else {}
        return {**self.from_start_folder, "GAELP_HOME": str(self.home), **catalog}

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps its runs and events; `DAGSTER_HOME` is set to it."""
        return self.home / "dagster"

    @property
    def staging(self) -> Path:
        """Where validated rows wait, as Parquet, for their commit."""
        return self.home / "staging"


def is_checkout(folder: Path) -> bool:
    """Whether the folder is a checkout of the repository, rather than one that packages are installed into."""
    return (folder / "pyproject.toml").is_file() and any(
        (folder / name).exists() for name in (".git", "workspace.yaml")
    )


def default_home(folder: Path = CHECKOUT) -> Path:
    """The home where `GAELP_HOME` names none: `.gaelp` in a checkout, else the user's data folder of this operating system."""
    if is_checkout(folder):
        return folder / ".gaelp"
    # Where a training loop says its gateway, this library need not be there.
    from platformdirs import user_data_path

    return user_data_path("gaelp", appauthor=False)


def load_settings(environ: Mapping[str, str] | None = None, *, folder: Path | None = None) -> Settings:
    """The settings that the environment (or the given mapping) and the files `gaelp.toml` say.

    A `GAELP_` variable that is unknown is warned of, once in a process.

    Args:
        environ: the variables; those of this process if left out.
        folder: where `gaelp.toml` is looked for before the home. Left out, it is the folder where this process stands or, with `environ`,
            none.

    Raises:
        GaelpError: a variable or a setting of a file has a wrong value, or a file has an unknown setting; all problems at once.

    >>> load_settings({"GAELP_FIRST_DATE": "2026-01-01"}).first_date
    datetime.date(2026, 1, 1)
    """
    env = os.environ if environ is None else environ
    _warn_of_unknown(env)
    start = _start_folder() if environ is None and folder is None else folder
    here = ConfigFile({}) if start is None else read_config_file(start / FILE_NAME, VARIABLES, FOLDERS)
    given = {name: Given(value, name) for name in VARIABLES if (value := env.get(name))}
    given = {**here.values, **given}
    problems = [*here.problems]
    origins: dict[str, str] = {}

    def read(name: str, parse: Callable[[str], T], default: T) -> T:
        found = given.get(name)
        origins[name] = DEFAULT if found is None else ENVIRONMENT if found.where == name else found.where
        if found is None or not found.text:
            return default
        try:
            return parse(found.text)
        except ValueError as error:
            problems.append(_wrong(name, found, str(error)))
            return default

    home = read("GAELP_HOME", _folder, default_home())
    if home.exists() and not home.is_dir():
        problems.append(_wrong("GAELP_HOME", Given(str(home), "GAELP_HOME"), "is not a folder"))
    elif home != start:
        kept = read_config_file(home / FILE_NAME, VARIABLES, FOLDERS)
        problems += kept.problems
        if "GAELP_HOME" in kept.values:
            problems.append(_home_in_home(kept.values["GAELP_HOME"].where))
        given = {**kept.values, **given}
    gateway: LocalGateway | GcsGateway = LocalGateway(home / "export_gateway")
    warehouse: DuckDBAddress | BigQueryAddress = DuckDBAddress(home / "warehouse.duckdb")
    settings = Settings(
        home=home,
        gateway=read("GAELP_GATEWAY", parse_gateway, gateway),
        warehouse=read("GAELP_WAREHOUSE", _warehouse, warehouse),
        first_date=read("GAELP_FIRST_DATE", dt.date.fromisoformat, DEFAULT_FIRST_DATE),
        catalog=read("GAELP_CATALOG", _folders, ()),
        query_seconds=read("GAELP_QUERY_SECONDS", _seconds, DEFAULT_QUERY_SECONDS),
        beam=read("GAELP_BEAM", _program, None),
        shared=read("GAELP_SHARED", _shared, default=False),
        kafka=read("GAELP_KAFKA", _brokers, None),
        kafka_config=read("GAELP_KAFKA_CONFIG", _folder, None),
        pubsub=read("GAELP_PUBSUB", _project, None),
        stream_key=read("GAELP_STREAM_KEY", str.strip, None),
        openlineage=_openlineage(env, read("GAELP_OPENLINEAGE", parse_target, None), origins, problems),
        openlineage_namespace=env.get("OPENLINEAGE_NAMESPACE") or DEFAULT_NAMESPACE,
        origins=MappingProxyType(origins),
        from_start_folder=MappingProxyType(
            {name: value.text for name, value in here.values.items() if given[name] is value}
        ),
    )
    if problems:
        raise GaelpError(*problems)
    host = env.get(EMULATOR_VARIABLE)
    if host and isinstance(settings.warehouse, BigQueryAddress):
        return replace(settings, warehouse=replace(settings.warehouse, emulator=_emulator(host)))
    return settings


def _openlineage(
    env: Mapping[str, str], own: Target | None, origins: dict[str, str], problems: list[Problem]
) -> Target | None:
    """Where OpenLineage events go: by the platform's own setting, or else by OpenLineage's own variables."""
    name = "GAELP_OPENLINEAGE"
    if origins[name] == DEFAULT:
        variable = next((each for each in OPENLINEAGE_VARIABLES if env.get(each)), None)
        if variable is not None:
            origins[name] = variable
            try:
                own = from_variable(variable, env[variable], env)
            except ValueError as error:
                what = f"{without_secrets(env[variable])!r} {error}"
                problems.append(Problem(what, variable, VARIABLES[name]))
    return with_key(own, env)


def _start_folder() -> Path | None:
    """The folder where the process stands, which can be gone."""
    with suppress(OSError):
        return Path.cwd()
    return None


_warned: Final[set[str]] = set()


def _warn_of_unknown(env: Mapping[str, str]) -> None:
    """Warns of variables that look like settings and are none, each once: they may be of a newer or older version, or a slip of the pen."""
    for name in sorted(env):
        if name.startswith(PREFIX) and name not in VARIABLES and name not in _warned:
            _warned.add(name)
            _log.warning("%s", unknown("environment variable", name, VARIABLES))


def without_secrets(address: str) -> str:
    """The address with `***` in the place of what may be a password or a token.

    >>> without_secrets("gs://user:hunter2@bucket/prefix?access_token=abc&location=US")
    'gs://user:***@bucket/prefix?access_token=***&location=US'
    """
    hidden = _PASSWORD.sub(r"\1***@", address)
    return _SECRET_OPTION.sub(r"\1***", hidden)


_PASSWORD: Final = re.compile(r"(?<=://)([^/@:]*:)[^/@]*@")
_SECRET_OPTION: Final = re.compile(
    r"([?&][^=&]*(?:key|pass|pwd|secret|token|credential)[^=&]*=)[^&]*", re.IGNORECASE
)


def _emulator(host: str) -> str:
    return host if "://" in host else f"http://{host}"


def _wrong(name: str, found: Given, why: str) -> Problem:
    where = name if found.where == name else f"{found.where}, {name.removeprefix(PREFIX).lower()}"
    return Problem(f"{without_secrets(found.text)!r} {why}", where=where, expected=VARIABLES[name])


def _home_in_home(where: str) -> Problem:
    return Problem(
        "the home cannot be set in a file that lies in it",
        where,
        "it in GAELP_HOME, or in gaelp.toml of the folder where the command is started",
    )


def _folder(value: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError("names the home of a user that there is none of") from None


def _program(value: str) -> Path:
    found = _folder(value)
    if not os.access(found, os.X_OK) or found.is_dir():
        raise ValueError("is no program that can be run")
    return found


def _folders(value: str) -> tuple[Path, ...]:
    names = value.split(os.pathsep)
    if not all(name.strip() for name in names):
        raise ValueError("has an empty name")
    return tuple(map(_folder, names))


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        raise ValueError("is not a number") from None
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise ValueError("is no time to wait")
    return seconds


_BROKER: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PROJECT: Final = re.compile(
    r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
)  # one of an organisation has its domain


def _brokers(value: str) -> str:
    brokers = [broker.strip() for broker in value.split(",")]
    if not all(map(_BROKER.fullmatch, brokers)):
        raise ValueError("is no list of brokers")
    return ",".join(brokers)


def _project(value: str) -> str:
    if not _PROJECT.fullmatch(value):
        raise ValueError("is not the name of a project")
    return value


def _shared(value: str) -> bool:
    if value != "group":
        raise ValueError("is not a way to share")
    return True


def parse_gateway(value: str) -> LocalGateway | GcsGateway:
    """The gateway of a URL, as in `GAELP_GATEWAY`.

    Raises:
        ValueError: it is none; the message goes on after the value.

    >>> parse_gateway("gs://bucket/prefix/").url
    'gs://bucket/prefix'
    """
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
