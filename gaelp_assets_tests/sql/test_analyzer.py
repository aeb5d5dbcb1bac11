"""What Google's analyzer needs beside statements. What it says of them: `test_views.py` and `gaelp_assets_tests/catalog/`."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from gaelp_assets.sql.analyzer import Analyzer, made_once
from gaelp_assets_tests.zetasql_gate import CACHE


def test_processes_that_began_at_once_each_compiled_the_analyzer(tmp_path: Path) -> None:
    file, others = tmp_path / "cache" / "compiled", list[Future[Path]]()

    def make() -> bytes:
        with pytest.raises(Timeout):
            FileLock(file.with_suffix(".lock")).acquire(timeout=0)
        others.extend(pool.submit(made_once, file, unneeded) for _ in range(4))
        return b"code"

    def unneeded() -> bytes:
        raise AssertionError("it is made already")

    with ThreadPoolExecutor(4) as pool:
        assert made_once(file, make).read_bytes() == b"code"
        assert [other.result() for other in others] == [file] * 4
    assert {path.suffix for path in file.parent.iterdir()} <= {"", ".lock"}


def test_making_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        made_once(tmp_path / "compiled", lambda: bytes(1 // 0))
    assert made_once(tmp_path / "compiled", lambda: b"code").read_bytes() == b"code"


def test_an_analyzer_that_goes_takes_its_relations_with_it() -> None:
    analyzer = Analyzer({}, CACHE)
    service, registered = analyzer.service, analyzer.registered_id
    del analyzer
    with pytest.raises(Exception, match=str(registered)):
        service.unregister_catalog(registered_id=registered)
