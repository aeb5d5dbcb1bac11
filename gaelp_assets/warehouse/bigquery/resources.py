"""Datasets and tables of the catalogue as BigQuery's API describes them. Nothing is run here.

The resources are those of https://cloud.google.com/bigquery/docs/reference/rest/v2/tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from gaelp_assets.catalog import Field, Relation
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.warehouse.bigquery.dialect import Names, selected

Resource = dict[str, Any]

DAY_MS: Final = 24 * 60 * 60 * 1000
# What a write leaves behind when it is killed goes away by itself.
STAGING_DAYS: Final = 1
# The API's limits of the lengths of descriptions.
_COLUMN_DESCRIPTION: Final = 1_024
_TABLE_DESCRIPTION: Final = 16_384
_LABEL: Final = 63


def dataset_resource(names: Names, dataset: str, location: str, *, staging: bool = False) -> Resource:
    """A dataset; the tables of the staging one expire."""
    project, dataset_id = names.dataset_id(dataset).split(".")
    resource: Resource = {
        "datasetReference": {"projectId": project, "datasetId": dataset_id},
        "location": location,
        "description": "What loads stage. Its tables expire." if staging else f"GAELP: {dataset}",
        "labels": {"managed_by": "gaelp_assets"},
    }
    if staging:
        resource["defaultTableExpirationMs"] = str(STAGING_DAYS * DAY_MS)
    return resource


def table_resource(names: Names, relation: Relation, datasets: Collection[str]) -> Resource:
    """A table or a view with all that the catalogue says of it; `datasets` are those that a view's SQL can name."""
    project, dataset, table = names.table_id(relation).split(".")
    resource: Resource = {
        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
        "description": relation.description[:_TABLE_DESCRIPTION],
        "labels": clean_labels({**relation.tags, "owner": relation.owner, "kind": relation.kind.value}),
    }
    if not relation.is_stored:
        assert relation.sql is not None
        resource["view"] = {
            "query": names.qualify(selected(relation.sql), datasets),
            "useLegacySql": False,
        }
        return resource
    resource["schema"] = {"fields": [field_resource(field) for field in stored_fields(relation)]}
    if relation.partitioning is not None:
        resource["timePartitioning"] = {"type": "DAY", "field": relation.partitioning.date}
        if relation.retention_days is not None:
            resource["timePartitioning"]["expirationMs"] = str(relation.retention_days * DAY_MS)
        resource["requirePartitionFilter"] = requires_partition_filter(relation)
    if relation.clustering:
        resource["clustering"] = {"fields": list(relation.clustering)}
    return resource


def requires_partition_filter(relation: Relation) -> bool:
    """Whether a query of the table must name its dates, as the catalogue says."""
    return relation.require_partition_filter


def field_resource(field: Field) -> Resource:
    """A column, with its description, its nested ones and its policy tags."""
    resource: Resource = {"name": field.name, "type": field.type, "mode": field.mode}
    if field.description:
        resource["description"] = field.description[:_COLUMN_DESCRIPTION]
    if field.fields:
        resource["fields"] = [field_resource(inner) for inner in field.fields]
    if field.policyTags:
        resource["policyTags"] = {key: list(tags) for key, tags in field.policyTags.items()}
    return resource


def clean_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Words as labels: lower-case letters, digits, dashes and underscores, 63 of them at most, others as underscores."""
    return {
        re.sub(r"[^a-z0-9_-]", "_", key.lower())[:_LABEL]: re.sub(r"[^a-z0-9_-]", "_", value.lower())[:_LABEL]
        for key, value in labels.items()
    }
