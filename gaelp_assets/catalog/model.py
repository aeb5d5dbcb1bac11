"""The typed model of a catalogue file. What can be said of one relation by itself is checked here; what needs
other files is checked in `catalog.validate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, model_validator
from pydantic import Field as Described

from gaelp_assets.catalog.base import CatalogModel, FieldName, Identifier
from gaelp_assets.catalog.window import Window

FieldType = Literal[
    "STRING", "BYTES", "INTEGER", "FLOAT", "NUMERIC", "BOOLEAN", "TIMESTAMP", "DATE", "DATETIME", "TIME", "JSON", "RECORD"
]  # fmt: skip
# GoogleSQL's names for the types that BigQuery's JSON schema words call otherwise.
TYPE_ALIASES: Final = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
Severity = Literal["ERROR", "WARN"]
MeasureFormat = Literal[
    "decimal_0", "decimal_1", "decimal_2", "decimal_3", "decimal_4", "percent_0", "percent_1", "percent_2"
]
# Keys of a relation that come from the places of its files, or from how they were read, not from their content.
FROM_PLACE: Final = ("dataset", "name", "sql", "code", "file", "unread")


class Kind(StrEnum):
    """How a relation comes to hold rows."""

    TABLE = "table"  # loaded from gateway files
    LEDGER = "ledger"  # written by the platform itself, in the transaction of a load
    VIEW = "view"  # a query, evaluated when read
    MATERIALIZED_VIEW = (
        "materialized_view"  # kept by the warehouse where it can, else stored as a derived table
    )
    DERIVED_TABLE = "derived_table"  # a query whose result is stored, slice by slice where it is partitioned


class KeyScope(StrEnum):
    """Where a primary key stands once."""

    TABLE = "table"
    SLICE = "slice"


class AssetCheckName(StrEnum):
    """The asset checks that a loaded table has; a derived relation has those of the keys that it declares."""

    ACCOUNTING = "accounting"
    REJECTED_ROWS = "rejected_rows"
    SCHEMA_CONFORMANCE = "schema_conformance"
    KEY_UNIQUENESS = "key_uniqueness"
    FOREIGN_KEYS = "foreign_keys"
    SEQUENCES = "sequences"
    NO_ROWS = "no_rows"


class Check(CatalogModel):
    """A rule that every row must keep: one of Pandera's built-in checks, or of the platform's own, by name."""

    name: Identifier = Described(
        description="in_range, isin, str_matches, ..., or a rule of gaelp_assets.validation.rules"
    )
    arguments: Mapping[str, object] = Described(
        default_factory=dict, description="the arguments of that check, by name"
    )


class Field(CatalogModel):
    """A column, in BigQuery's JSON schema words; `bq show --schema` prints can be pasted in."""

    name: FieldName = Described(description="the column's name")
    type: Annotated[
        FieldType,
        BeforeValidator(lambda value: TYPE_ALIASES.get(value, value) if isinstance(value, str) else value),
    ]
    mode: Literal["REQUIRED", "NULLABLE", "REPEATED"] = Described(
        default="NULLABLE", description="whether a row must have a value, may have none, or has an array"
    )
    description: str = Described(default="", description="what it means and its unit, for people")
    fields: tuple[Field, ...] = Described(default=(), description="the fields of a RECORD")
    policyTags: Mapping[str, tuple[str, ...]] | None = Described(  # noqa: N815 - BigQuery's word
        default=None, description="BigQuery's policy tags, as an array of their resource names under `names`"
    )
    sensitive: bool = Described(
        default=False, description="its values never leave the warehouse: not in samples, not in charts"
    )
    checks: tuple[Check, ...] = Described(default=(), description="rules that its values must keep")
    computed_from: tuple[str, ...] = Described(
        default=(),
        description="of a relation in Python: the columns that it comes from, as DATASET.NAME.FIELD; those of SQL are read from it",
    )
    was: tuple[FieldName, ...] = Described(
        default=(),
        description="its former names: lines that use one are rows, too, and its column is renamed",
    )

    @property
    def required(self) -> bool:
        """Whether a row must have a value for it."""
        return self.mode == "REQUIRED"

    @property
    def repeated(self) -> bool:
        """Whether its value is an array."""
        return self.mode == "REPEATED"

    @model_validator(mode="after")
    def _record_has_fields(self) -> Field:
        if self.type == "RECORD" and not self.fields:
            raise ValueError("a RECORD needs fields")
        if self.type != "RECORD" and self.fields:
            raise ValueError(f"only a RECORD has fields, this is a {self.type}")
        return self


class Partitioning(CatalogModel):
    """The fields that slice a table: by date and environment, by date alone, or (without partitioning) not at all."""

    date: str = Described(description="a DATE field, or a TIMESTAMP field whose UTC day counts")
    environment: str | None = Described(
        default=None, description="a STRING field that holds the RL environment's id"
    )


class ForeignKey(CatalogModel):
    """Fields whose values must exist in another table."""

    fields: tuple[str, ...] = Described(min_length=1, description="the fields that refer")
    references: str = Described(description="the table, as DATASET.NAME or as NAME")
    referenced_fields: tuple[str, ...] = Described(default=(), description="the same names where left out")

    @property
    def targets(self) -> tuple[str, ...]:
        """The fields of the referenced table, one for each of `fields`."""
        return self.referenced_fields or self.fields


class ReadsSlices(CatalogModel):
    """Of how many days before and after its own a slice of a derived relation reads its sources."""

    before: Annotated[int, Described(ge=0, le=36_500)] | Literal["all"] = Described(
        default=0, description="days before the slice's own, or all of them"
    )
    after: Annotated[int, Described(ge=0, le=36_500)] | Literal["all"] = Described(
        default=0, description="days after the slice's own, or all of them"
    )


class RowSequence(CatalogModel):
    """Rows in an order, such as the steps of an episode: none follows the one that ends it."""

    within: tuple[str, ...] = Described(
        min_length=1, description="the fields that rows of one sequence share"
    )
    order_by: str = Described(description="the field that orders them, such as step_index")
    ends_where: tuple[str, ...] = Described(
        min_length=1, description="BOOLEAN fields: no row follows one where any of them is true"
    )


class Latest(CatalogModel):
    """Of two rows with the same key, the one with the greater version stays."""

    latest: str = Described(description="the version field, such as updated_at")


class Chart(CatalogModel):
    """A picture of a relation in its asset's metadata: y for each x, a line or a colour for each series, a panel for each facet."""

    x: str = Described(
        description="the field along the horizontal axis; of bars and intervals, what each is of"
    )
    y: str = Described(description="the field along the vertical axis; of bars and intervals, their value")
    mark: Literal["line", "bar", "interval"] = Described(
        default="line",
        description="line: y over x; bar: a horizontal bar for each x; interval: a dot with its range from `low` to `high` for each x",
    )
    series: str | None = Described(default=None, description="a field: a line for each of its values")
    facet: str | None = Described(default=None, description="a field: a panel for each of its values")
    low: str | None = Described(default=None, description="lower edge of the band, or of the range, around y")
    high: str | None = Described(
        default=None, description="upper edge of the band, or of the range, around y"
    )
    count: str | None = Described(
        default=None,
        description="an INTEGER field: how many runs, say, stand behind a value; told with the value, and where it falls the line is paler",
    )
    marked: str | None = Described(
        default=None,
        description="a BOOLEAN or INTEGER field: values where it is true, or above 0, are crossed: something is wrong with them",
    )
    title: str = Described(default="", description="above the picture")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it shows, each once, in the order in which its rows are sorted."""
        named = (self.facet, self.series, self.x, self.y, self.low, self.high, self.count, self.marked)
        return tuple(dict.fromkeys(name for name in named if name is not None))


class Measure(CatalogModel):
    """A figure over rows of a derived relation, such as a mean: one aggregate of its fields that has a name."""

    name: Identifier = Described(description="what it is called; no field has that name")
    description: str = Described(min_length=1, description="what it says, and its unit, for people")
    sql: str = Described(
        min_length=1, description="an aggregate of fields in GoogleSQL, such as AVG(mean_return)"
    )
    format: MeasureFormat | None = Described(
        default=None, description="how tools for reports write it: digits after the point, or per cent"
    )


class Stream(CatalogModel):
    """The stream that rows of a loaded table arrive in, for `gaelp stream`. Where its source is, settings say."""

    source: Literal["kafka", "pubsub"] = Described(description="what holds the messages")
    topic: str = Described(min_length=1, description="the topic that producers write to")
    subscription: str | None = Described(
        default=None, description="of Pub/Sub: the subscription's name that messages are pulled by"
    )
    format: Literal["json", "msgpack", "arrow"] = Described(
        default="json",
        description="what a message is: a row as JSON or MessagePack, or rows as an Arrow stream",
    )
    max_batch_rows: int = Described(
        default=10_000, ge=1, le=1_000_000, description="so many rows are handed in at once at most"
    )
    max_latency_s: float = Described(
        default=1.0, gt=0, le=60, description="so many seconds is a row gathered with others at most"
    )


class Relation(CatalogModel):
    """A table, view, materialized view or derived table. `dataset`, `name`, `sql` and `file` come from the files' places."""

    dataset: Identifier = Described(exclude=True)
    name: Identifier = Described(exclude=True)
    sql: str | None = Described(default=None, exclude=True)
    """Its query: of the file beside it, or what its windows are computed by (`catalog.window_sql`)."""

    code: str | None = Described(default=None, exclude=True, repr=False)
    """A digest of the Python that it is computed by (`catalog.code`), where it names some."""

    file: str = Described(default="", exclude=True, repr=False)
    """The path of its JSON file, as messages name it; empty for one that no file describes."""

    unread: frozenset[str] = Described(default=frozenset(), exclude=True, repr=False)
    """Keys of its file, and `fields.NAME` of fields, of which nothing can be told, as what stands there is wrong. Empty in a catalogue
    without problems; otherwise, nothing that depends on them is called wrong besides."""

    kind: Kind = Described(default=Kind.TABLE, description="how it comes to hold rows")
    description: str = Described(min_length=1, description="what it holds, for people")
    owner: str = Described(
        pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$",
        description="team:NAME or an e-mail address",
    )
    fields: tuple[Field, ...] = Described(min_length=1, description="its columns, in order")
    checks: tuple[Check, ...] = Described(default=(), description="rules over several fields of a row")
    primary_key: tuple[str, ...] = Described(
        default=(), description="the fields that tell one row from another; every loaded table has some"
    )
    key_scope: KeyScope = Described(
        default=KeyScope.TABLE,
        description="table: a key stands once in the whole table; slice: once in each slice",
    )
    foreign_keys: tuple[ForeignKey, ...] = Described(
        default=(), description="fields whose values must exist in other tables"
    )
    sequences: tuple[RowSequence, ...] = Described(
        default=(),
        description="orders of rows; the asset check `sequences` finds those that go on after their end",
    )
    partitioning: Partitioning | None = Described(default=None, description="what it is sliced by")
    reads_slices: ReadsSlices | None = Described(
        default=None,
        description="the other days that a slice of a derived relation is made of, as with LAG and running totals",
    )
    clustering: tuple[str, ...] = Described(
        default=(), max_length=4, description="fields that BigQuery sorts its blocks by"
    )
    require_partition_filter: bool = Described(
        default=False, description="whether every query of this partitioned table must name its dates"
    )
    python: str | None = Described(
        default=None,
        description="in place of SQL, the function that computes a derived table: FUNCTION of NAME.py beside this file, or MODULE:FUNCTION",
    )
    inputs: tuple[str, ...] = Described(
        default=(),
        description="of a relation in Python: the relations that its function is given, as DATASET.NAME",
    )
    window: Window | None = Described(
        default=None,
        description="in place of SQL, the windows of time that a derived table has a row for, and what it says of each",
    )
    publish: bool = Described(
        default=False,
        description="whether it is in the bundle of each day for the Benchmark Portal, without sensitive columns",
    )
    expect_no_rows: bool = Described(
        default=False,
        description="of a derived relation whose rows are problems: the asset check `no_rows` fails where there are any, and names some",
    )
    retention_days: int | None = Described(
        default=None, ge=1, description="rows of older days are removed; all are kept if left out"
    )
    on_key_conflict: Literal["reject"] | Latest = Described(
        default="reject", description="what becomes of a second row with the same key and other content"
    )
    max_reject_fraction: float = Described(
        default=0.5, ge=0, le=1, description="a batch with more rejected lines than this is set aside whole"
    )
    max_unfolded_bytes: int = Described(
        default=64 << 30,
        ge=1,
        description="a file with more text than this, decompressed, is set aside whole",
    )
    freshness_hours: float | None = Described(
        default=None, gt=0, description="older than this, the asset is stale"
    )
    asset_check_severity: Mapping[AssetCheckName, Severity] = Described(
        default_factory=dict, description="by asset check: whether a failure is an ERROR or a WARN"
    )
    chart: Chart | None = Described(default=None, description="a picture of it on its asset's page")
    measures: tuple[Measure, ...] = Described(
        default=(), description="figures over rows of a derived relation, for people and for tools"
    )
    stream: Stream | None = Described(
        default=None, description="the stream that its rows arrive in, besides files; it changes no row"
    )
    tags: Mapping[str, str] = Described(
        default_factory=dict, description="shown in Dagster and as labels of BigQuery; they change nothing"
    )
    overrides: bool = Described(
        default=False, description="whether it replaces the relation of the same name in an earlier folder"
    )

    @property
    def id(self) -> str:
        """`dataset.name`, as in SQL."""
        return f"{self.dataset}.{self.name}"

    @property
    def quoted_id(self) -> str:
        """Its name in GoogleSQL, in quotes."""
        return f"`{self.dataset}`.`{self.name}`"

    @property
    def is_loaded(self) -> bool:
        """Whether its rows come from gateway files."""
        return self.kind is Kind.TABLE

    @property
    def is_derived(self) -> bool:
        """Whether its rows come from its SQL, its function or its windows."""
        return self.sql is not None or self.python is not None or self.window is not None

    @property
    def is_stored(self) -> bool:
        """Whether it holds rows of its own, rather than being evaluated when read."""
        return self.kind is not Kind.VIEW

    def where(self, *, sql: bool = False) -> str:
        """Its JSON file, or the SQL beside it, as messages name them; the SQL of windows is made of what the JSON says."""
        file = self.file or f"{self.dataset}/{self.name}.json"
        if sql and self.window is not None:
            return f"{file}, window"
        return f"{file.removesuffix('.json')}.sql" if sql else file

    def field(self, name: str) -> Field:
        """The top-level field of that name; KeyError if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of the top-level fields, in order."""
        return tuple(field.name for field in self.fields)

    def is_read(self, name: str) -> bool:
        """Whether it can be told that there is, or is not, a field of that name, and of which type."""
        return not {"fields", f"fields.{name}"} & self.unread

    def severity(self, check: AssetCheckName) -> Severity:
        """How bad it is when that asset check fails."""
        return self.asset_check_severity.get(check, DEFAULT_SEVERITY[check])


# A fact can arrive before its dimension, and a rejected row is set aside, not lost: neither stops what follows.
DEFAULT_SEVERITY: Final[Mapping[AssetCheckName, Severity]] = {
    AssetCheckName.ACCOUNTING: "ERROR",
    AssetCheckName.REJECTED_ROWS: "WARN",
    AssetCheckName.SCHEMA_CONFORMANCE: "ERROR",
    AssetCheckName.KEY_UNIQUENESS: "ERROR",
    AssetCheckName.FOREIGN_KEYS: "WARN",
    AssetCheckName.SEQUENCES: "ERROR",
    AssetCheckName.NO_ROWS: "WARN",
}

# What the platform adds to every row that it loads.
LOAD_FIELDS: Final = (
    Field(
        name="_batch_id",
        type="STRING",
        mode="REQUIRED",
        description="SHA-256 of the gateway file that the row came in",
    ),
    Field(
        name="_loaded_at", type="TIMESTAMP", mode="REQUIRED", description="when that file was first loaded"
    ),
    Field(
        name="_row_hash", type="INTEGER", mode="REQUIRED", description="xxHash3-64 of the row's line, as sent"
    ),
)


def stored_fields(relation: Relation) -> tuple[Field, ...]:
    """The columns that the relation's table has: its fields and, where it is loaded, the platform's."""
    return (*relation.fields, *LOAD_FIELDS) if relation.is_loaded else relation.fields


def walk_fields(fields: Sequence[Field], prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Every field with its dotted path, nested ones after their record."""
    for field in fields:
        path = f"{prefix}{field.name}"
        yield path, field
        yield from walk_fields(field.fields, f"{path}.")
