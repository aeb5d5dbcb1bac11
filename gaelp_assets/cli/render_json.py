"""What `--json` prints: one document on stdout and nothing else, for programs. Its keys are a promise: some are added, none goes."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gaelp_assets.operations.json_values import json_value

if TYPE_CHECKING:
    from gaelp_assets.catalog import Catalog, Relation
    from gaelp_assets.errors import Problem
    from gaelp_assets.gateway import FailedFile, GatewayFile, Listing
    from gaelp_assets.operations.status import PlatformStatus
    from gaelp_assets.warehouse.bigquery.materialization_rules import Decision
    from gaelp_assets.warehouse.quotas import QuotaLeft


def json_text(value: object) -> str:
    """The value as one line of JSON, without a digit lost."""
    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False)


def print_json(value: Mapping[str, object]) -> None:
    """The document."""
    sys.stdout.write(json_text(value) + "\n")


def problem_value(problem: Problem) -> dict[str, str]:
    """A problem: what, where, what was expected and what to do."""
    return {
        "what": problem.what,
        "where": problem.where,
        "expected": problem.expected,
        "remedy": problem.remedy,
    }


def status_values(status: PlatformStatus) -> dict[str, object]:
    """Queue, failures, stuck files and tables."""
    return {
        "at": status.at,
        "stages": {stage.value: dataclasses.asdict(count) for stage, count in status.stages.items()},
        "failures": [
            {"file": f.stored.name, "problems": [str(p) for p in f.problems]} for f in status.failures
        ],
        "out_of_range": [file.stored.name for file in status.out_of_range],
        "stuck": [file.stored.name for file in status.stuck],
        "tables": [dataclasses.asdict(table_status) for table_status in status.tables],
        "derived": [dataclasses.asdict(count) for count in status.derived],
        "receivers": [dataclasses.asdict(receiver) for receiver in status.receivers],
        "quota_left": status.quota_left and _head_room_values(status.quota_left),
    }


def _head_room_values(room: QuotaLeft) -> dict[str, object]:
    derived = {"left": room.left, "writes_left": room.writes_left, "renewed_at": room.renewed_at}
    return {**dataclasses.asdict(room), **derived}


def gateway_values(
    pending: Listing,
    unsorted: Listing,
    failures: Sequence[FailedFile],
    strays: Sequence[tuple[str, Problem]],
) -> dict[str, object]:
    """What waits to be loaded or sorted, what was set aside, and what no stage takes."""
    return {
        "pending": [_file_values(file) for file in pending.files],
        "unsorted": [_file_values(file) for file in unsorted.files],
        "misplaced": [
            {"file": stored.name, "problem": problem_value(problem)}
            for stored, problem in (*pending.misplaced, *unsorted.misplaced)
        ],
        "failed": [
            {
                "file": failure.stored.name,
                "bytes": failure.stored.size,
                "modified": failure.stored.modified,
                "original": failure.original,
                "problems": [problem_value(problem) for problem in failure.problems],
            }
            for failure in failures
        ],
        "strays": [{"file": name, "problem": problem_value(problem)} for name, problem in strays],
    }


def _file_values(file: GatewayFile) -> dict[str, object]:
    return {
        "file": file.stored.name,
        "relation": file.relation.id,
        "date": file.slice.date,
        "environment": file.slice.environment,
        "bytes": file.stored.size,
        "modified": file.stored.modified,
    }


def catalog_values(catalog: Catalog) -> dict[str, object]:
    """The relations, and those that are set aside."""
    return {
        "relations": [_summary_values(relation) for relation in catalog],
        "set_aside": [
            {"relation": each.id, "problems": [problem_value(problem) for problem in each.problems]}
            for each in catalog.set_aside.values()
        ],
    }


def _summary_values(relation: Relation) -> dict[str, object]:
    by = relation.partitioning
    return {
        "relation": relation.id,
        "kind": relation.kind.value,
        "fields": len(relation.fields),
        "partitioning": by and {"date": by.date, "environment": by.environment},
        "owner": relation.owner,
        "description": relation.description,
        "file": relation.where(),
    }


def relation_values(
    relation: Relation, *, reads: Sequence[str], feeds: Sequence[str], decision: Decision | None
) -> dict[str, object]:
    """Everything that the catalogue says of a relation, in the words of its file, and what it reads and feeds."""
    declared = relation.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "relation": relation.id,
        "declared": {**declared, "file": relation.where()},
        "reads": list(reads),
        "feeds": list(feeds),
        "kept_by_bigquery_as": decision and decision.summary,
        "obstacles": [
            {"what": reason.what, "leaves": reason.leaves.value, "remedy": reason.remedy}
            for reason in (decision.reasons if decision is not None else ())
        ],
    }
