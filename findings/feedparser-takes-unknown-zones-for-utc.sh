#!/usr/bin/env bash
# feedparser 6.0.14 (2026-11-27).
#
# Dates of feeds whose zone is a name that feedparser does not know (CET, BST, JST: all common in real feeds) come out as if they were UTC,
# with no sign of it: an entry of noon in Tokyo is put nine hours too late. Zones as numbers are read right.
#
# What to do: parse the raw text (`entry.published`) with a parser that refuses what it does not know.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check feedparser==6.0.14
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY'
import time

import feedparser

FEED = "<rss version='2.0'><channel><item><pubDate>{}</pubDate></item></channel></rss>"
for text in ("Fri, 20 Nov 2026 12:00:00 GMT", "Fri, 20 Nov 2026 12:00:00 CET", "Fri, 20 Nov 2026 12:00:00 BST", "Fri, 20 Nov 2026 12:00:00 JST", "Fri, 20 Nov 2026 12:00:00 +0530"):
    entry = feedparser.parse(FEED.format(text)).entries[0]
    parsed = entry.get("published_parsed")
    print(f"{text[5:]} -> {time.strftime('%Y-%m-%d %H:%M', parsed) if parsed else None}")
PY
)
expected='20 Nov 2026 12:00:00 GMT -> 2026-11-20 12:00
20 Nov 2026 12:00:00 CET -> 2026-11-20 12:00
20 Nov 2026 12:00:00 BST -> 2026-11-20 12:00
20 Nov 2026 12:00:00 JST -> 2026-11-20 12:00
20 Nov 2026 12:00:00 +0530 -> 2026-11-20 06:30'
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
