"""What the gateway keeps on every store: the way of a file through the stages, crashes and failures on the way."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaelp_assets.catalog import WHOLE, Catalog, Field, Relation, Slice
from gaelp_assets.catalog.model import Partitioning
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import Gateway, GatewayFile, ObjectChanged, Stage, Store
from gaelp_assets.gateway.explanation import Reason, RejectedLine, RejectedLines
from gaelp_assets.gateway.stores.gcs import GcsStore
from gaelp_assets.gateway.stores.local import LocalStore
from gaelp_assets_tests.contract.gateways import (
    STORES,
    names,
    open_store,
    put,
    put_from_outside,
    read,
    server_of,
)

DAY = dt.date(2026, 11, 20)
CART_POLE = Slice(DAY, "CartPole-v1")
PLACE = "training/episodes/date=2026-11-20/environment=CartPole-v1"
BATCH = "0123456789abcdef" * 4

# Google's client leaves the connection of a refused download to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with open_store(request.param, tmp_path / "gateway", monkeypatch) as store:
        yield store


def relation(name: str, by: Partitioning | None) -> Relation:
    names = ("id", "day", "environment_id")
    types = ("STRING", "DATE", "STRING")
    fields = tuple(
        Field.model_validate({"name": n, "type": t, "mode": "REQUIRED"})
        for n, t in zip(names, types, strict=True)
    )
    return Relation(
        dataset="training",
        name=name,
        description="for tests",
        owner="team:tests",
        fields=fields,
        primary_key=("id",),
        partitioning=by,
    )


EPISODES = relation("episodes", Partitioning(date="day", environment="environment_id"))
AGENTS = relation("agents", None)


@pytest.fixture
def gateway(store: Store) -> Gateway:
    gateway = Gateway(store, Catalog([EPISODES, AGENTS]))
    gateway.prepare()
    return gateway


def files(found: list[GatewayFile]) -> list[str]:
    return [file.stored.name for file in found]


def test_a_raw_file_goes_its_way_and_a_crash_on_the_way_leaves_it_in_sight(gateway: Gateway) -> None:
    put(gateway.store, "raw/training/episodes/day.ndjson", b"raw")
    (raw,) = gateway.unsorted().files
    claimed = gateway.claim(raw)
    assert claimed.stage is Stage.TRANSFORMED
    assert files(gateway.unsorted().files) == [claimed.stored.name]
    assert gateway.claim(claimed) == claimed
    published = gateway.publish(EPISODES, CART_POLE, "day.ndjson", [b"sorted"])
    assert published is not None
    assert gateway.publish(EPISODES, CART_POLE, "day.ndjson", [b"sorted"]) is None
    kept = gateway.archive_raw(claimed, BATCH)
    assert kept.stored.name == "sent/training/episodes/_raw/day~0123456789ab.ndjson"
    assert files(gateway.pending().files) == [f"cloud_ready/{PLACE}/day.ndjson"]
    with gateway.open(published) as file:
        assert file.read() == b"sorted"
    archived = gateway.archive(published, BATCH)
    assert archived.stored.name == f"sent/{PLACE}/day~0123456789ab.ndjson"
    assert gateway.archive(archived, BATCH) == archived
    assert files(gateway.slice_files(EPISODES, CART_POLE, Stage.SENT, Stage.CLOUD_READY)) == [
        archived.stored.name
    ]
    assert gateway.pending().files == gateway.unsorted().files == []


def test_archiving_again_what_another_process_archived_is_no_error(gateway: Gateway) -> None:
    put(gateway.store, f"cloud_ready/{PLACE}/a.ndjson")
    (file,) = gateway.pending().files
    assert gateway.archive(file, BATCH) == gateway.archive(file, BATCH)
    with pytest.raises(ObjectChanged):
        gateway.archive(file, "f" * 64)


def test_resent_files_collapse_and_other_bytes_stay_beside_them(gateway: Gateway) -> None:
    for batch in (BATCH, BATCH, "f" * 64):
        put(gateway.store, f"cloud_ready/{PLACE}/a.ndjson", batch.encode())
        (file,) = gateway.pending().files
        gateway.archive(file, batch)
    assert files(gateway.slice_files(EPISODES, CART_POLE, Stage.SENT)) == [
        f"sent/{PLACE}/a~0123456789ab.ndjson",
        f"sent/{PLACE}/a~ffffffffffff.ndjson",
    ]


def test_a_second_raw_file_of_the_same_name_does_not_replace_the_claimed_one(gateway: Gateway) -> None:
    for content in (b"first", b"second"):
        put(gateway.store, "raw/episodes.ndjson", content)
        for file in gateway.unsorted().files:
            gateway.claim(file)
    contents = {read(gateway.store, file.stored) for file in gateway.unsorted().files}
    assert contents == {b"first", b"second"}


def test_the_queue_knows_what_is_pending_unsorted_and_misplaced(gateway: Gateway) -> None:
    for number in range(3):
        put(gateway.store, f"cloud_ready/{PLACE}/{number}.ndjson", b"12345")
    put(gateway.store, "cloud_ready/agents.ndjson")
    put(gateway.store, "cloud_ready/training/episodes/date=2026-11-20/unsorted.ndjson")
    put(gateway.store, "cloud_ready/training/episode/typo.ndjson")
    put(gateway.store, "raw/training/agents/x.csv")
    queue = gateway.queue()
    pending = gateway.pending_slices()[("training.episodes", CART_POLE)]
    assert (pending.files, pending.bytes) == (3, 15)
    assert set(queue.slices) == {("training.episodes", CART_POLE), ("training.agents", WHOLE)}
    assert queue.unsorted["training.episodes"].files == 1
    assert [stored.name for stored, _ in queue.misplaced] == ["cloud_ready/training/episode/typo.ndjson"]
    assert gateway.pending().misplaced == queue.misplaced
    assert [stored.name for stored, _ in gateway.unsorted().misplaced] == ["raw/training/agents/x.csv"]
    assert files(gateway.unsorted().files) == [
        "cloud_ready/training/episodes/date=2026-11-20/unsorted.ndjson"
    ]
    counts = gateway.counts()
    assert counts[Stage.CLOUD_READY].files == 6
    assert counts[Stage.RAW].oldest is not None
    assert (counts[Stage.SENT].files, counts[Stage.SENT].bytes, counts[Stage.SENT].oldest) == (0, 0, None)


def test_the_files_of_a_whole_table_lie_in_its_folder_and_beside_it(gateway: Gateway) -> None:
    for name in (
        "cloud_ready/agents.ndjson",
        "cloud_ready/training/agents/a.ndjson",
        "cloud_ready/training/agents/z.ndjson.gz",
        "cloud_ready/training/agents_too/a.ndjson",
        "sent/training/agents/Z.ndjson",
        "sent/training/agents/_raw/m.ndjson",
        "sent/training/agents/_raw/n.ndjson",
        "sent/training/agents/z.ndjson",
    ):
        put(gateway.store, name)
    assert files(gateway.slice_files(AGENTS, WHOLE, Stage.SENT, Stage.CLOUD_READY)) == [
        "sent/training/agents/Z.ndjson",
        "sent/training/agents/z.ndjson",
        "cloud_ready/training/agents/a.ndjson",
        "cloud_ready/training/agents/z.ndjson.gz",
        "cloud_ready/agents.ndjson",
    ]


PROBLEM = Problem("what", "where", "expected", "remedy")


def test_a_failed_file_lies_beside_its_explanation_and_goes_back_when_retried(gateway: Gateway) -> None:
    put(gateway.store, "raw/training/episode/x.ndjson", b"content")
    ((stored, problem),) = gateway.unsorted().misplaced
    failed = gateway.fail(stored, [problem, PROBLEM])
    assert gateway.unsorted().misplaced == []
    explanation = gateway.store.find(failed.name + ".error.json")
    assert explanation is not None
    content = json.loads(read(gateway.store, explanation))
    assert content["original_name"] == "raw/training/episode/x.ndjson"
    assert content["problems"][1] == {
        "what": "what",
        "where": "where",
        "expected": "expected",
        "remedy": "remedy",
    }
    assert dt.datetime.fromisoformat(content["when"]).tzinfo is not None
    assert gateway.failed() == [(failed, (problem, PROBLEM), "raw/training/episode/x.ndjson")]
    assert gateway.counts(Stage.FAILED)[Stage.FAILED].files == 1
    assert gateway.retry("x.ndjson") == [(failed.name, "raw/training/episode/x.ndjson")]
    assert names(gateway.store, "") == ["raw/training/episode/x.ndjson"]


def test_a_failed_file_tells_its_rejected_lines(gateway: Gateway) -> None:
    line = RejectedLine(2, 7, (Reason("bytes", "wrong_type", "expected INTEGER"),))
    told = RejectedLines(
        "training.agents", "training/agents/x.ndjson", 2, 1, True, ((line.reasons[0], 1),), (line,)
    )
    failed = gateway.fail(put(gateway.store, "raw/training/agents/x.ndjson"), [PROBLEM], told)
    gateway.fail(put(gateway.store, "raw/training/agents/y.csv"), [PROBLEM])
    put(gateway.store, "failed/training/agents/by_hand.ndjson")
    [(stored, found)] = gateway.rejected(gateway.catalog["training.agents"])
    assert (stored, found.rejected, found.problems) == (failed, told, (PROBLEM,))
    assert list(gateway.rejected(gateway.catalog["training.episodes"])) == []


def test_same_named_failures_do_not_replace_each_other(gateway: Gateway) -> None:
    for content in (b"first", b"second"):
        gateway.fail(put(gateway.store, "raw/bad.csv", content), [PROBLEM])
    failed = gateway.failed()
    assert {read(gateway.store, file.stored) for file in failed} == {b"first", b"second"}
    moved = gateway.retry("*bad*")
    assert sorted(new for _, new in moved) == ["raw/bad-2.csv", "raw/bad.csv"]
    assert names(gateway.store, "failed/") == []


@pytest.mark.parametrize(
    "name", ["raw/a\x07b/c.ndjson", "raw/a\u202eb.ndjson", "raw/a%2Fb.csv", "raw/training/a b|c/x.ndjson"]
)
def test_an_oddly_named_file_can_fail_and_come_back(gateway: Gateway, name: str) -> None:
    put_from_outside(gateway.store, name, b"odd")
    ((stored, problem),) = gateway.unsorted().misplaced
    failed = gateway.fail(stored, [problem])
    assert failed.name.isprintable()
    assert gateway.retry(failed.name) == [(failed.name, name)]
    assert names(gateway.store, "") == [name]


def test_a_name_that_nothing_gets_again_stays_in_failed_and_holds_up_no_other(gateway: Gateway) -> None:
    for name in ("raw/a\\b.ndjson", "raw/c.csv"):
        put_from_outside(gateway.store, name)
    for stored, problem in gateway.unsorted().misplaced:
        gateway.fail(stored, [problem])
    with pytest.raises(GaelpError, match="backslash"):
        gateway.retry("*")
    assert [file.original for file in gateway.failed()] == ["raw/a\\b.ndjson"]
    assert names(gateway.store) == ["raw/c.csv"]


def test_a_crash_between_explanation_and_move_is_healed_by_failing_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = put(gateway.store, "raw/bad.csv", b"bad")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(gateway.store, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            gateway.fail(stored, [Problem("an older reason")])
    assert names(gateway.store) == ["raw/bad.csv"]
    assert gateway.failed() == []
    gateway.fail(stored, [PROBLEM])
    (failed,) = gateway.failed()
    assert failed.problems == (PROBLEM,)


def test_a_crash_before_the_explanation_leaves_the_file_where_it_was(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved first, a file would lie in failed/ without a word of why."""
    stored = put(gateway.store, "raw/bad.csv", b"bad")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(gateway.store, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            gateway.fail(stored, [PROBLEM])
    assert names(gateway.store) == ["raw/bad.csv"]
    assert names(gateway.store, "failed/") == []


def test_failing_what_is_gone_leaves_no_explanation_of_nothing(gateway: Gateway) -> None:
    stored = put(gateway.store, "raw/bad.csv")
    gateway.store.delete(stored)
    with pytest.raises(ObjectChanged):
        gateway.fail(stored, [PROBLEM])
    assert names(gateway.store, "") == []


def test_retrying_what_nobody_knows_says_what_is_known(gateway: Gateway) -> None:
    with pytest.raises(GaelpError, match="no failed files"):
        gateway.retry("*")
    failed = gateway.fail(put(gateway.store, "raw/bad.csv"), [PROBLEM])
    with pytest.raises(GaelpError, match=failed.name.rpartition("/")[2]):
        gateway.retry("other.ndjson")


def test_a_failed_file_without_readable_explanation_is_shown_but_not_moved(gateway: Gateway) -> None:
    put(gateway.store, "failed/by_hand.ndjson")
    put(gateway.store, "failed/damaged.ndjson")
    put(gateway.store, "failed/damaged.ndjson.error.json", b"[]")
    assert [(file.stored.name, file.original) for file in gateway.failed()] == [
        ("failed/by_hand.ndjson", None),
        ("failed/damaged.ndjson", None),
    ]
    with pytest.raises(GaelpError, match="by hand"):
        gateway.retry("*")


@pytest.mark.parametrize("name", ["../../etc/passwd.ndjson", "a.json", ".a.ndjson", "a/b.ndjson"])
def test_nothing_is_published_under_a_name_that_could_not_be_read_back(gateway: Gateway, name: str) -> None:
    with pytest.raises(GaelpError):
        gateway.publish(EPISODES, CART_POLE, name, [b""])
    with pytest.raises(GaelpError):
        gateway.publish(EPISODES, Slice(DAY), "a.ndjson", [b""])
    assert names(gateway.store, "") == []


def test_three_thousand_objects_are_listed_completely_and_counted_by_slice(gateway: Gateway) -> None:
    if isinstance(gateway.store, GcsStore):
        server = server_of(gateway.store)
        for number in range(3000):
            server.put(f"some/prefix/cloud_ready/{PLACE}/{number:05}.ndjson", b"{}\n")
    else:
        assert isinstance(gateway.store, LocalStore)
        folder = gateway.store.folder / "cloud_ready" / PLACE
        folder.mkdir(parents=True)
        for number in range(3000):
            (folder / f"{number:05}.ndjson").write_bytes(b"{}\n")
    assert gateway.pending_slices()[("training.episodes", CART_POLE)].files == 3000
    assert [name.rpartition("/")[2] for name in names(gateway.store, "cloud_ready/")] == [
        f"{number:05}.ndjson" for number in range(3000)
    ]


def test_what_lies_outside_of_the_stages_was_passed_over_in_silence(gateway: Gateway) -> None:
    put(gateway.store, "raw/training/episodes/a.ndjson")
    assert gateway.strays() == []
    for name in ("notes.txt", "Transformed/a.ndjson", "Transformed/deep/b.ndjson", "zz/c.ndjson"):
        put_from_outside(gateway.store, name)
    found = gateway.strays()
    assert [name for name, _ in found] == ["Transformed/", "notes.txt", "zz/"]
    assert "did you mean 'transformed'?" in str(found[0][1])
    assert [stored.name for stored in gateway.store.list("raw/")] == ["raw/training/episodes/a.ndjson"]
