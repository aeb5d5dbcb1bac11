"""What a SQL text alone tells: the relations that it reads, and its words. Parsing takes most of a start, so a file keeps both in between.

What a text means among the relations of a catalogue is told elsewhere (`sql`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.references import parsed
from gaelp_assets.catalog.remembered import digest, read_json, write_json

_AT_ONCE: Final = 16_384


class _Told(NamedTuple):
    reads: frozenset[str]
    words: str


_recalled: Mapping[str, _Told] = {}
"""By the digests of texts: what was told of them in earlier starts."""


@lru_cache(maxsize=_AT_ONCE)
def references(sql: str) -> frozenset[str]:
    """The `dataset.name` (or bare names) of the tables that a query reads, without its own common table expressions.

    Raises:
        NotAQueryError: the text is not one query.
    """
    told = _recalled.get(digest(sql))
    if told is not None:
        return told.reads
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    found = set()
    for scope in traverse_scope(parsed(sql)):
        for source in scope.sources.values():
            if isinstance(source, exp.Table):
                found.add(".".join(part.name for part in source.parts))
    return frozenset(found)


def reads(relation: Relation) -> frozenset[str]:
    """The relations that a derived one is computed from, as its SQL, `inputs` or `window` name them; none of one that is not derived.

    Raises:
        NotAQueryError: its SQL is not one query.
    """
    if relation.python is not None:
        return frozenset(relation.inputs)
    if relation.window is not None:
        return frozenset({relation.window.source})
    return references(relation.sql) if relation.sql is not None else frozenset()


@lru_cache(maxsize=_AT_ONCE)
def words(sql: str) -> str:
    """The words of a GoogleSQL text, so that texts of equal words have equal digests under every release of the parser.

    Raises:
        ValueError: the text cannot be split into GoogleSQL's tokens.
    """
    told = _recalled.get(digest(sql))
    return told.words if told is not None else str(list(_tokens(sql)))


def recall(file: Path) -> None:
    """Takes over what an earlier start has told of texts, if it was told by the same release of the parser."""
    global _recalled
    content = read_json(file)
    texts = content.get("texts") if isinstance(content, dict) and content.get("by") == _parser() else None
    _recalled = _read_texts(texts) if isinstance(texts, dict) else {}


def remember(file: Path, texts: Iterable[str]) -> None:
    """Keeps what these texts tell, and nothing else; texts that are no queries are left out."""
    found: dict[str, _Told] = {}
    for sql in texts:
        try:
            found[digest(sql)] = _Told(references(sql), words(sql))
        except ValueError:
            continue
    if found.keys() != _recalled.keys():
        told = {key: [sorted(reads), text] for key, (reads, text) in found.items()}
        write_json(file, {"by": _parser(), "texts": told})


def _parser() -> str:
    return f"{version('gaelp-assets')} {version('sqlglot')}"


def _read_texts(texts: Mapping[str, object]) -> dict[str, _Told]:
    found = {}
    for key, told in texts.items():
        if not isinstance(told, list) or len(told) != 2 or not isinstance(told[0], list):
            return {}  # somebody else's file
        found[key] = _Told(frozenset(map(str, told[0])), str(told[1]))
    return found


def _tokens(sql: str) -> Iterator[str]:
    from sqlglot import TokenType
    from sqlglot.dialects.bigquery import BigQuery
    from sqlglot.errors import SqlglotError

    try:
        tokens = BigQuery().tokenize(sql)
    except SqlglotError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    literal = {
        TokenType.STRING: "'",
        TokenType.RAW_STRING: "r'",
        TokenType.BYTE_STRING: "b'",
        TokenType.IDENTIFIER: "`",
    }
    for token in tokens:
        if token.token_type in literal:
            yield literal[token.token_type] + token.text
        elif token.token_type is not TokenType.SEMICOLON:
            yield token.text.upper()
