"""What a file's name says about what it corrects. Pure: a file's name in, its place among the versions of a file out.

    day.ndjson             version 1 of the file `day`
    day.rev-2.ndjson       version 2: its rows stand in the place of all that `day` has said before
    late.withdraw-3.ndjson keys whose rows, of any file and of versions below 3, are withdrawn

The greater number has the last word, whatever comes first: so a rebuild from the files alone ends as the first load did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gaelp_assets.gateway.paths import replayed_stem, split_name

_CORRECTION: Final = re.compile(
    r"(?P<stem>.+)\.(?P<kind>rev|withdraw)-(?P<number>[1-9][0-9]{0,8})", re.DOTALL
)


@dataclass(frozen=True)
class Version:
    """Which version of which file a name says that it is."""

    stem: str
    """What the producer calls the file, without version and ending."""
    number: int = 1
    withdraws: bool = False
    """Whether the file's lines are keys that are withdrawn, rather than rows."""

    @property
    def corrects(self) -> bool:
        """Whether it has the last word on something."""
        return self.number > 1

    def supersedes(self, other: Version) -> bool:
        """Whether a revision makes the other one, as a whole, count no more. Withdrawn keys stay withdrawn."""
        return (
            self.stem == other.stem
            and self.number > other.number
            and not self.withdraws
            and not other.withdraws
        )


def version(path: str) -> Version:
    """The version that a file's path or name says that it is. Replayed lines are of the version that they were rejected in.

    >>> version("training/episodes/day.rev-2.ndjson.gz")
    Version(stem='day', number=2, withdraws=False)
    >>> version("day.replay-1.ndjson").supersedes(version("day.ndjson"))
    False
    """
    stem = replayed_stem(path) or split_name(path.rpartition("/")[2])[0]
    match = _CORRECTION.fullmatch(stem)
    if match is None or (match["kind"] == "withdraw" and match["number"] == "1"):
        return Version(stem)
    return Version(match["stem"], int(match["number"]), match["kind"] == "withdraw")


def revision_name(stem: str, number: int, ending: str) -> str:
    """The name of a revision.

    >>> revision_name("day", 2, "ndjson.gz")
    'day.rev-2.ndjson.gz'
    """
    return f"{stem}.rev-{number}.{ending}"


def withdrawal_name(stem: str, number: int) -> str:
    """The name of a withdrawal.

    >>> withdrawal_name("day", 2)
    'day.withdraw-2.ndjson'
    """
    return f"{stem}.withdraw-{number}.ndjson"
