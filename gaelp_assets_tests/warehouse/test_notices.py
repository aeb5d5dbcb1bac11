"""What is said of relations that differ from the catalogue."""

from __future__ import annotations

import pytest

from gaelp_assets.warehouse.notices import DriftNotices
from gaelp_assets.warehouse.schema.model import Action, Change, ObjectType, RelationPlan, plan_create
from gaelp_assets_tests.contract.warehouses import EPISODES, EVENTS, VERSIONS

TABLE = ObjectType.TABLE
DIFFERS = RelationPlan(EPISODES, TABLE, TABLE, (Change(Action.ADD_FIELD, "note"), Change(Action.QUERY)))
SAME = RelationPlan(EVENTS, TABLE, TABLE)


def test_what_differs_is_said_once_and_what_is_missing_is_compared_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notices = DriftNotices()
    relations = (EPISODES, EVENTS, VERSIONS)
    assert notices.due(relations) == [*relations]
    for _ in range(2):  # as two threads that were due at the same time
        notices.say([DIFFERS, SAME, plan_create(VERSIONS, TABLE)])
    assert [record.getMessage() for record in caplog.records] == [
        "lab.episodes: differs from the catalogue (add field note; query), and is read as it is. "
        "`gaelp deploy` brings it up to the catalogue, or says what stands in the way."
    ]
    assert notices.due(relations) == [VERSIONS]
