"""What a name in the gateway says, for every name that a producer can get wrong."""

from __future__ import annotations

import datetime as dt

import pytest

from gaelp_assets.catalog import WHOLE, Catalog, Field, Kind, Relation, Slice
from gaelp_assets.catalog.model import Partitioning
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import paths
from gaelp_assets.gateway.paths import GatewayFile, Stage
from gaelp_assets.gateway.store import StoredObject

DAY = dt.date(2026, 11, 20)
CART_POLE = Slice(DAY, "CartPole-v1")


def relation(dataset: str, name: str, by: Partitioning | None = None, kind: Kind = Kind.TABLE) -> Relation:
    return Relation(
        dataset=dataset,
        name=name,
        kind=kind,
        sql=None if kind in {Kind.TABLE, Kind.LEDGER} else "SELECT 1 AS id",
        description="for tests",
        owner="team:tests",
        fields=(
            Field(name="id", type="STRING", mode="REQUIRED"),
            Field(name="day", type="DATE", mode="REQUIRED"),
            Field(name="env", type="STRING", mode="REQUIRED"),
        ),
        primary_key=("id",),
        partitioning=by,
    )


EPISODES = relation("training", "episodes", Partitioning(date="day", environment="env"))
DAILY = relation("media", "posts", Partitioning(date="day"))
AGENTS = relation("training", "agents")
CATALOG = Catalog(
    [
        EPISODES,
        DAILY,
        AGENTS,
        relation("ops", "import_logs", kind=Kind.LEDGER),
        relation("analytics", "progress", kind=Kind.VIEW),
    ]
)


def stored(name: str, version: str = "1") -> StoredObject:
    return StoredObject(name, 10, dt.datetime(2026, 11, 20, tzinfo=dt.UTC), version)


def parse(name: str) -> GatewayFile | Problem:
    return paths.parse_name(stored(name), CATALOG)


def good(name: str, version: str = "1") -> GatewayFile:
    found = paths.parse_name(stored(name, version), CATALOG)
    assert isinstance(found, GatewayFile), found
    return found


PLACE = "training/episodes/date=2026-11-20/environment=CartPole-v1"


@pytest.mark.parametrize(
    ("name", "relation_", "slice_", "is_sorted"),
    [
        (f"cloud_ready/{PLACE}/part-0.ndjson", EPISODES, CART_POLE, True),
        (f"cloud_ready/{PLACE}/part-0.ndjson.gz", EPISODES, CART_POLE, True),
        (f"cloud_ready/{PLACE}/épisode 1.v2.ndjson.zst", EPISODES, CART_POLE, True),
        (f"sent/{PLACE}/part-0~0123456789ab.ndjson", EPISODES, CART_POLE, True),
        (f"raw/{PLACE}/part-0.json", EPISODES, CART_POLE, False),
        (f"transformed/{PLACE}/part-0.json", EPISODES, CART_POLE, False),
        ("raw/training/episodes/part-0.ndjson", EPISODES, WHOLE, False),
        ("cloud_ready/training/episodes/part-0.ndjson", EPISODES, WHOLE, False),
        ("cloud_ready/training/episodes/date=2026-11-20/part-0.ndjson", EPISODES, Slice(DAY), False),
        ("cloud_ready/episodes.ndjson", EPISODES, WHOLE, False),
        ("cloud_ready/agents.ndjson.gz", AGENTS, WHOLE, True),
        ("raw/agents.json", AGENTS, WHOLE, False),
        ("cloud_ready/training/agents/2026.ndjson", AGENTS, WHOLE, True),
        ("cloud_ready/media/posts/date=2026-11-20/a.ndjson", DAILY, Slice(DAY), True),
        ("cloud_ready/media/posts/a.ndjson", DAILY, WHOLE, False),
        ("sent/training/episodes/_raw/date=2026-11-20/a~0123456789ab.json", EPISODES, Slice(DAY), False),
        ("sent/training/agents/_raw/a~0123456789ab.ndjson", AGENTS, WHOLE, False),
    ],
)
def test_sound_names_say_table_slice_and_whether_they_can_be_loaded(
    name: str, relation_: Relation, slice_: Slice, is_sorted: bool
) -> None:
    found = good(name)
    assert (found.relation, found.slice, found.sorted) == (relation_, slice_, is_sorted)
    assert found.stage == name.split("/")[0]


def test_a_table_alone_names_a_file_only_where_one_dataset_has_a_table_of_that_name() -> None:
    views = Catalog([*CATALOG, relation("marts", "agents", kind=Kind.VIEW)])
    found = paths.parse_name(stored("cloud_ready/agents.ndjson"), views)
    assert isinstance(found, GatewayFile)
    assert found.relation == AGENTS
    tables = Catalog([*CATALOG, relation("media", "agents")])
    unclear = paths.parse_name(stored("cloud_ready/agents.ndjson"), tables)
    assert isinstance(unclear, Problem)
    assert unclear.what == "2 tables are called 'agents'"
    assert unclear.expected == "the folder of one of them: media/agents/ or training/agents/"
    for dataset in ("media", "training"):
        placed = paths.parse_name(stored(f"cloud_ready/{dataset}/agents/a.ndjson"), tables)
        assert isinstance(placed, GatewayFile)
        assert placed.relation.dataset == dataset
    near = paths.parse_name(stored("cloud_ready/agents/a.ndjson"), tables)
    assert isinstance(near, Problem)
    assert near.remedy == "Did you mean media/agents/ or training/agents/?"
    near = paths.parse_name(stored("cloud_ready/agentz.ndjson"), tables)
    assert isinstance(near, Problem)
    assert "media/agents" in near.expected
    assert "training/agents" in near.expected


@pytest.mark.parametrize(
    ("name", "what", "allowed"),
    [
        ("cloud_ready/training/episode/a.ndjson", "unknown table 'training.episode'", "training/episodes"),
        ("cloud_ready/epizodes.ndjson", "unknown table 'epizodes'", "training/episodes"),
        ("cloud_ready/train/episodes/a.ndjson", "unknown table 'train.episodes'", "training/episodes"),
        ("cloud_ready/training/a.ndjson", "does not name a table", "DATASET/TABLE/NAME.ndjson"),
        ("cloud_ready/episodes/a.ndjson", "does not name a table", "Did you mean training/episodes/?"),
        ("cloud_ready/analytics/progress/a.ndjson", "is a view", "loaded from files"),
        ("raw/ops/import_logs/a.ndjson", "written by the platform itself", "loaded from files"),
        (
            "cloud_ready/training/episodes/date=2026-02-30/environment=A/a.ndjson",
            "a date that does not exist",
            "date=YYYY-MM-DD",
        ),
        (
            "cloud_ready/training/episodes/date=20-11-2026/environment=A/a.ndjson",
            "not a date written as",
            "date=YYYY-MM-DD",
        ),
        (
            "cloud_ready/training/episodes/date=２０２６-11-20/a.ndjson",
            "not a date written as",
            "date=YYYY-MM-DD",
        ),
        (
            "cloud_ready/training/episodes/date=2026-11-20/environment=Cart Pole/a.ndjson",
            "'Cart Pole'",
            "letters, digits",
        ),
        (
            "cloud_ready/training/episodes/date=2026-11-20/environment=A|B/a.ndjson",
            "'A|B'",
            "letters, digits",
        ),
        (
            "cloud_ready/training/episodes/date=2026-11-20/environment=ALE/Pong-v5/a.ndjson",
            "'Pong-v5'",
            "'ALE/Pong-v5' is 'ALE.Pong-v5'",
        ),
        ("cloud_ready/training/episodes/date=2026-11-20/environment=/a.ndjson", "''", "letters, digits"),
        (
            "cloud_ready/training/episodes/environment=A/date=2026-11-20/a.ndjson",
            "date=2026-11-20",
            "date=YYYY-MM-DD/environment=ID",
        ),
        ("cloud_ready/training/episodes/agent=7/a.ndjson", "'agent=7'", "date=YYYY-MM-DD/environment=ID"),
        (
            "cloud_ready/training/agents/date=2026-11-20/a.ndjson",
            "is not sliced",
            "training/agents/NAME.ndjson",
        ),
        (
            "cloud_ready/media/posts/date=2026-11-20/environment=A/a.ndjson",
            "by date alone",
            "media/posts/date=YYYY-MM-DD/NAME",
        ),
        (f"cloud_ready/{PLACE}/a.csv", "'.csv'", "NAME.ndjson.gz"),
        (f"cloud_ready/{PLACE}/a.jsonl", "'.jsonl'", "NAME.ndjson"),
        (f"cloud_ready/{PLACE}/a.NDJSON", "'.NDJSON'", "NAME.ndjson"),
        (f"cloud_ready/{PLACE}/a.ndjson.bz2", "'.ndjson.bz2'", "NAME.ndjson"),
        (f"cloud_ready/{PLACE}/README", "''", "NAME.ndjson"),
        (f"cloud_ready/{PLACE}/a.json", "'.json'", "raw/ only"),
        (f"raw/{PLACE}/a.json.gz", "'.json.gz'", "NAME.json"),
        (f"cloud_ready/{PLACE}/a\nb.ndjson", r"'\\n'", "printable"),
        (f"cloud_ready/{PLACE}/a\x07.ndjson", "x07", "printable"),
        (f"cloud_ready/{PLACE}/a\udcff.ndjson", "udcff", "printable"),
        (f"cloud_ready/{PLACE}/a\u202ebidi.ndjson", "u202e", "printable"),
        (f"cloud_ready/{PLACE}/..\\a.ndjson", "backslash", "printable"),
        ("cloud_ready/../../etc/passwd.ndjson", '".."', "plain folders"),
        (f"cloud_ready/{PLACE}/a..b.ndjson", '".."', "plain folders"),
        ("cloud_ready//episodes.ndjson", "nothing between", "plain folders"),
        (f"cloud_ready/{PLACE}/{'a' * 201}.ndjson", "too long", "200 bytes"),
        ("cloud_raedy/agents.ndjson", "did you mean 'cloud_ready'", "transformed"),
        ("agents.ndjson", "unknown folder", "cloud_ready"),
    ],
)
def test_a_wrong_name_is_told_what_is_wrong_and_what_is_allowed(name: str, what: str, allowed: str) -> None:
    found = parse(name)
    assert isinstance(found, Problem)
    assert what in found.what
    assert allowed in f"{found.expected} {found.what} {found.remedy}"
    assert found.where
    str(found).encode()  # can be printed


def test_a_table_name_far_from_all_others_still_gets_examples() -> None:
    found = parse("raw/zzz/qqq/a.ndjson")
    assert isinstance(found, Problem)
    assert "media/posts" in found.expected


BATCH = "0123456789abcdef" * 4


def test_an_archived_name_ends_in_the_batch_once() -> None:
    file = good(f"cloud_ready/{PLACE}/part-0.ndjson.gz")
    name = paths.archived_name(file, BATCH)
    assert name == f"sent/{PLACE}/part-0~0123456789ab.ndjson.gz"
    assert paths.archived_name(good(name), BATCH) == name


def test_the_path_is_the_same_in_every_stage() -> None:
    raw = good(f"raw/{PLACE}/part-0.ndjson")
    claimed = good(paths.claimed_name(raw))
    archived = good(paths.archived_name(claimed, BATCH))
    kept = good(paths.archived_raw_name(claimed, BATCH))
    assert {raw.path, claimed.path, archived.path, kept.path} == {f"{PLACE}/part-0.ndjson"}
    assert (
        kept.stored.name
        == "sent/training/episodes/_raw/date=2026-11-20/environment=CartPole-v1/part-0~0123456789ab.ndjson"
    )
    assert not kept.sorted


def test_two_versions_of_one_name_are_claimed_and_failed_side_by_side() -> None:
    first, second = good("raw/agents.ndjson", "1"), good("raw/agents.ndjson", "2")
    assert paths.claimed_name(first) != paths.claimed_name(second)
    assert paths.claimed_name(first) == paths.claimed_name(good("raw/agents.ndjson", "1"))
    assert paths.failed_name(first.stored) != paths.failed_name(second.stored)


@pytest.mark.parametrize(
    "name",
    [
        "raw/../../etc/passwd",
        "raw/a\nb/c\x00d.ndjson",
        "raw/a\udcff/.hidden.ndjson",
        "raw/..\\..\\x.ndjson",
        "raw/" + "d" * 250 + "/" + "n" * 250 + ".ndjson",
        "raw/" + "/".join(["deep"] * 300) + "/a.ndjson",
        "raw/" + "é" * 180 + ".ndjson",
        "raw//",
        "agents.ndjson",
        "raw/x.tmp/a.tmp",
    ],
)
def test_a_failed_name_never_escapes_whatever_the_original(name: str) -> None:
    failed = paths.failed_name(stored(name))
    parts = failed.split("/")
    assert parts[0] == "failed"
    assert failed.isprintable()
    assert "\\" not in failed
    assert not {"", ".", ".."} & set(parts)
    assert not any(part.startswith(".") for part in parts)
    assert all(len((part + paths.ERROR_ENDING).encode()) <= 255 for part in parts)
    assert len((failed + paths.ERROR_ENDING).encode()) <= 1024


def test_odd_and_plain_names_that_encode_alike_do_not_meet_in_failed() -> None:
    assert paths.failed_name(stored("raw/a%0A.ndjson")) != paths.failed_name(stored("raw/a\n.ndjson"))


@pytest.mark.parametrize(
    ("relation_", "slice_", "name"),
    [
        (EPISODES, WHOLE, "a.ndjson"),
        (EPISODES, Slice(DAY), "a.ndjson"),
        (DAILY, CART_POLE, "a.ndjson"),
        (EPISODES, CART_POLE, "b/a.ndjson"),
        (EPISODES, CART_POLE, ".a.ndjson"),
        (EPISODES, CART_POLE, "../a.ndjson"),
        (EPISODES, CART_POLE, "a.json"),
    ],
)
def test_publishing_refuses_what_could_not_be_read_back(
    relation_: Relation, slice_: Slice, name: str
) -> None:
    with pytest.raises(GaelpError):
        paths.published_name(relation_, slice_, name)


def test_stages_are_the_five_folders_of_the_design() -> None:
    assert [stage.value for stage in Stage] == ["raw", "transformed", "cloud_ready", "sent", "failed"]
