"""An archive that is cut off anywhere is set aside whole, and never taken for a shorter one."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from contextlib import suppress

import pytest
import zstandard

from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets_tests.chaos.workloads import ENDINGS, member
from gaelp_assets_tests.platforms import ndjson

LINES = [member(number) for number in range(900)]
TEXT = ndjson(LINES)
HALF = len(ndjson(LINES[:450]))


def several(compress: Callable[[bytes], bytes]) -> tuple[bytes, int]:
    """Two archives, one after the other, which make one; and where the first ends."""
    first = compress(TEXT[:HALF])
    return first + compress(TEXT[HALF:]), len(first)


def lines_of(content: bytes, ending: str) -> int:
    return sum(len(block) for block in LineReader(io.BytesIO(content), f"a.{ending}"))


@pytest.mark.parametrize("ending", ["ndjson.gz", "ndjson.zst"])
def test_cut_off_anywhere_but_between_two_archives_it_is_refused(ending: str, seed: int) -> None:
    whole, boundary = several(ENDINGS[ending])
    assert lines_of(whole, ending) == len(LINES)
    near = {place + by for place in (0, boundary, len(whole)) for by in range(-20, 21)}
    cuts = near | set(random.Random(seed).sample(range(len(whole)), 300))
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(whole)):
        if cut == boundary:
            continue
        with pytest.raises(GaelpError) as told:
            lines_of(whole[:cut], ending)
        assert any(words in str(told.value) for words in ("cut off", "no lines", "is not")), cut


@pytest.mark.parametrize("ending", ["ndjson.gz", "ndjson.zst"])
def test_cut_off_between_two_archives_it_is_the_first_one(ending: str) -> None:
    """Nothing in the file tells that another was to follow; what is there is complete, and is accounted for."""
    whole, boundary = several(ENDINGS[ending])
    assert lines_of(whole[:boundary], ending) == 450


@pytest.mark.parametrize("ending", ["ndjson.gz", "ndjson.zst"])
def test_a_byte_changed_anywhere_is_no_crash_and_loses_no_line(ending: str, seed: int) -> None:
    chance = random.Random(seed)
    compress = (
        zstandard.ZstdCompressor(write_checksum=True).compress if ending.endswith("zst") else ENDINGS[ending]
    )
    whole = compress(TEXT)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        with suppress(GaelpError):
            assert lines_of(bytes(damaged), ending) == len(LINES)


@pytest.mark.parametrize("ending", ["ndjson.gz", "ndjson.zst"])
@pytest.mark.parametrize("content", [b"", b"\n \r\n"], ids=["nothing", "blank lines"])
def test_an_archive_of_nothing_has_no_lines(ending: str, content: bytes) -> None:
    with pytest.raises(GaelpError, match="has no lines"):
        lines_of(ENDINGS[ending](content), ending)
