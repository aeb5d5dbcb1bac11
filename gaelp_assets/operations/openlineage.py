"""What a run did, as OpenLineage events: a job for each load, refresh and set of checks, its inputs and outputs, and how it ended.

Only the events; how they are sent is in `openlineage_delivery`. Names of fields are told, of sensitive ones too, and values never. The
library that the events are made with is imported when there is one to make.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.model import Field, stored_fields
from gaelp_assets.operations.lineage import lineage_folder, lineage_of
from gaelp_assets.settings import BigQueryAddress, GcsGateway, Settings

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent
    from openlineage.client.generated.base import DatasetFacet

    from gaelp_assets.sql.uses import Uses

PRODUCER: Final = "urn:gaelp-assets"
Action = Literal["load", "refresh", "checks", "load_checks"]
"""What a step does; `load_checks` are those that a load evaluates itself."""
Ending = Literal["START", "COMPLETE", "FAIL", "ABORT"]


class Assertion(NamedTuple):
    """How an asset check ended."""

    check: str
    passed: bool
    severity: str
    """`ERROR` or `WARN`."""


@dataclass(frozen=True)
class Step:
    """What a step of a run does to one relation."""

    relation: Relation
    action: Action
    slices: Sequence[Slice]
    """Those that it is about; empty for the whole relation."""
    run_id: str
    """Dagster's."""
    job_name: str
    """Dagster's."""

    @property
    def name(self) -> str:
        """The name of its OpenLineage job."""
        return f"{self.relation.id}.{self.action}"


@dataclass(frozen=True)
class Outcome:
    """What is known of a step when it has ended."""

    rows: int | None = None
    """Rows that were loaded, or that the refreshed slices hold."""
    assertions: Sequence[Assertion] = ()
    message: str | None = None
    """Why it failed, without any value of a row."""


class Events:
    """Makes events of a platform's runs.

    Args:
        settings: where the gateway and the warehouse are.
        catalog: the relations.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        from openlineage.client.generated.base import set_producer

        set_producer(PRODUCER)
        self._settings = settings
        self._catalog = catalog

    def event(self, step: Step, ending: Ending, outcome: Outcome | None = None) -> dict[str, Any]:
        """The event that a step begins, or has ended in a way, as JSON has it."""
        from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
        from openlineage.client.serde import Serde

        found = outcome or Outcome()
        event: RunEvent = RunEvent(
            eventType=RunState(ending),
            eventTime=dt.datetime.now(dt.UTC).isoformat(),
            run=Run(_run_id(step), self._run_facets(step, found)),
            job=Job(self._settings.openlineage_namespace, step.name, self._job_facets(step)),
            producer=PRODUCER,
            inputs=self._inputs(step, found),
            outputs=self._outputs(step, found),
        )
        return dict(Serde.to_dict(event))

    def _run_facets(self, step: Step, outcome: Outcome) -> dict[str, Any]:
        from openlineage.client.facet_v2 import (
            error_message_run,
            nominal_time_run,
            parent_run,
            processing_engine_run,
            tags_run,
        )

        facets: dict[str, Any] = {
            "parent": parent_run.ParentRunFacet(
                parent_run.Run(step.run_id),
                parent_run.Job(self._settings.openlineage_namespace, step.job_name),
            ),
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
                version("dagster"), "Dagster", version("openlineage-python")
            ),
        }
        dates = [slice_.date for slice_ in step.slices if slice_.date is not None]
        if dates:
            start, end = min(dates), max(dates) + dt.timedelta(days=1)
            facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(
                f"{start.isoformat()}T00:00:00Z", f"{end.isoformat()}T00:00:00Z"
            )
        environments = sorted({s.environment for s in step.slices if s.environment is not None})
        if environments:
            facets["tags"] = tags_run.TagsRunFacet(
                [tags_run.TagsRunFacetFields("environment", name, "GAELP") for name in environments]
            )
        if outcome.message is not None:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(outcome.message, "Python")
        return facets

    def _job_facets(self, step: Step) -> dict[str, Any]:
        from openlineage.client.facet_v2 import (
            documentation_job,
            job_type_job,
            ownership_job,
            sql_job,
        )

        relation = step.relation
        facets: dict[str, Any] = {
            "jobType": job_type_job.JobTypeJobFacet("BATCH", "GAELP", step.action.upper()),
            "documentation": documentation_job.DocumentationJobFacet(relation.description),
            "ownership": ownership_job.OwnershipJobFacet([ownership_job.Owner(relation.owner)]),
        }
        if step.action == "refresh" and relation.sql is not None:
            facets["sql"] = sql_job.SQLJobFacet(relation.sql.strip())
        return facets

    def _inputs(self, step: Step, outcome: Outcome) -> list[InputDataset]:
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        if step.action == "load":
            namespace, name = self._gateway_name(step.relation)
            return [InputDataset(namespace, name)]
        if step.action == "refresh":
            read = [self._catalog[id_] for id_ in sorted(self._catalog.upstream[step.relation.id])]
            return [InputDataset(*self.name_of(each), facets=_facets(each)) for each in read]
        assertions = [
            quality.Assertion(each.check, each.passed, severity=each.severity.lower())
            for each in outcome.assertions
        ]
        facets: dict[str, Any] = (
            {"dataQualityAssertions": quality.DataQualityAssertionsDatasetFacet(assertions)}
            if assertions
            else {}
        )
        namespace, name = self.name_of(step.relation)
        return [InputDataset(namespace, name, facets=_facets(step.relation), inputFacets=facets)]

    def _outputs(self, step: Step, outcome: Outcome) -> list[OutputDataset]:
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

        if step.action not in {"load", "refresh"}:
            return []
        facets = _facets(step.relation)
        if step.relation.is_derived:
            lineage = self._column_lineage(step.relation)
            facets |= {"columnLineage": lineage} if lineage is not None else {}
        told: dict[str, Any] = {}
        if outcome.rows is not None:
            told["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(outcome.rows)
        return [OutputDataset(*self.name_of(step.relation), facets=facets, outputFacets=told)]

    def _column_lineage(self, relation: Relation) -> DatasetFacet | None:
        from openlineage.client.facet_v2 import column_lineage_dataset as lineage

        found = lineage_of(relation, self._catalog, lineage_folder(self._settings))
        if not found.columns:
            return None

        def fields(uses: Uses) -> list[lineage.InputField]:
            by_column: dict[tuple[str, str], list[lineage.Transformation]] = {}
            for use in sorted(uses):
                kind = "DIRECT" if use.how.is_direct else "INDIRECT"
                one = lineage.Transformation(kind, use.how.value, "", False)
                by_column.setdefault((use.relation, use.column), []).append(one)
            return [
                lineage.InputField(*self.name_of(self._catalog[id_]), column, how)
                for (id_, column), how in by_column.items()
            ]

        columns = {path: lineage.Fields(fields(uses)) for path, uses in found.columns.items()}
        return lineage.ColumnLineageDatasetFacet(columns, fields(found.rows))

    def name_of(self, relation: Relation) -> tuple[str, str]:
        """The namespace and the name of a relation's dataset: BigQuery's by OpenLineage's rule, DuckDB's by the file's address."""
        warehouse = self._settings.warehouse
        if isinstance(warehouse, BigQueryAddress):
            name = f"{warehouse.project}.{warehouse.dataset_prefix}{relation.dataset}.{relation.name}"
            return "bigquery", name
        return warehouse.url, relation.id

    def _gateway_name(self, relation: Relation) -> tuple[str, str]:
        gateway = self._settings.gateway
        place = f"cloud_ready/{relation.dataset}/{relation.name}"
        if isinstance(gateway, GcsGateway):
            return f"gs://{gateway.bucket}", f"{gateway.prefix}/{place}".lstrip("/")
        return "file", str(gateway.folder / place)


def _run_id(step: Step) -> str:
    """The same for every event of a step, and in every process."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}/{step.run_id}/{step.name}"))


def _facets(relation: Relation) -> dict[str, Any]:
    from openlineage.client.facet_v2 import documentation_dataset, ownership_dataset, schema_dataset

    def told(fields: Iterable[Field]) -> list[schema_dataset.SchemaDatasetFacetFields]:
        return [
            schema_dataset.SchemaDatasetFacetFields(
                field.name,
                f"ARRAY<{field.type}>" if field.repeated else field.type,
                field.description or None,
                number,
                told(field.fields),
            )
            for number, field in enumerate(fields, start=1)
        ]

    return {
        "schema": schema_dataset.SchemaDatasetFacet(told(stored_fields(relation))),
        "documentation": documentation_dataset.DocumentationDatasetFacet(relation.description),
        "ownership": ownership_dataset.OwnershipDatasetFacet([ownership_dataset.Owner(relation.owner)]),
    }
