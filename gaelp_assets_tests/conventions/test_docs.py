"""The Python examples of the pages run, in the order in which a page gives them, and give what the page says."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from gaelp_assets.settings import CHECKOUT

# Pages of whole scripts, which a test of the part that they tell of runs.
RUN_ELSEWHERE = {"docs/recording.md", "docs/serving.md", "docs/streaming.md", "docs/your-training-loop.md"}
EXAMPLES = {
    path.relative_to(CHECKOUT).as_posix(): blocks
    for path in sorted((CHECKOUT / "docs").rglob("*.md"))
    if path.relative_to(CHECKOUT).as_posix() not in RUN_ELSEWHERE
    and (blocks := re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL))
}


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    for variable in ("GAELP_GATEWAY", "GAELP_WAREHOUSE", "GAELP_FIRST_DATE"):
        monkeypatch.delenv(variable, raising=False)
    text = "\n".join(EXAMPLES[page])
    assert text.lstrip().startswith(">>> "), "examples show what they give: write them as a session"
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted > 0
    assert result.failed == 0


def test_there_are_examples() -> None:
    assert "docs/examples.md" in EXAMPLES
