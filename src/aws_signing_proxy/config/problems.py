"""What is wrong with the settings: every problem at once, each by the name of its setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Problem", "SettingsError"]

_PROGRAM = "aws-signing-proxy"
# A name longer than this does not push all the others' sentences to the right.
_MAX_NAME_COLUMN = 30


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong or missing setting.

    `given` is what was given, already fit to be shown (quoted; a secret is not in it), None where nothing
    was. `flag` is the flag that gave it, where it was a flag.
    """

    environment_name: str
    given: str | None
    expected: str
    flag: str | None = None

    @property
    def sentence(self) -> str:
        """The problem in words, without the setting's name."""
        if self.given is None:
            return f"is not set. Expected: {self.expected}"
        source = f" (flag {self.flag})" if self.flag else ""
        return f"is {self.given}{source}. Expected: {self.expected}"


class SettingsError(Exception):
    """Settings are wrong or missing; its text names all of them and is ready for the terminal.

    `hints` are sentences that may explain a problem: a variable that looks like a setting and is none.
    """

    def __init__(self, problems: Sequence[Problem], hints: Sequence[str] = ()) -> None:
        self.problems = list(problems)
        self.hints = list(hints)
        super().__init__(_text(self.problems, self.hints))


def _text(problems: list[Problem], hints: list[str]) -> str:
    count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    width = max(
        (len(problem.environment_name) for problem in problems if len(problem.environment_name) <= _MAX_NAME_COLUMN),
        default=0,
    )
    return "\n".join(
        [
            f"{_PROGRAM}: {count} wrong or missing; nothing was started.",
            *(f"  {problem.environment_name:<{width}}  {problem.sentence}" for problem in problems),
            *(f"Note: {hint}" for hint in hints),
            f"See: {_PROGRAM} --help",
        ]
    )
