"""Where a setting's value comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aws_signing_proxy.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_signing_proxy.config.declaration import Declaration

__all__ = ["Candidate", "Source", "SourceKind", "find_candidate"]


class SourceKind(StrEnum):
    """The places that a value can come from, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Source:
    """One such place: its kind, and the flag's or variable's name. Reads as `flag --port`, `default`."""

    kind: SourceKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else str(self.kind)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A setting's value as it was given, in text and then parsed, with its source.

    `text` is None where neither a flag nor the environment nor a default gave one. Its `repr` leaves both
    out: they may be secret.
    """

    declaration: Declaration
    source: Source
    text: str | None = None
    value: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.declaration.name} from {self.source}>"

    @property
    def is_set(self) -> bool:
        """Whether a flag or the environment gave the value."""
        return self.source.kind is not SourceKind.DEFAULT

    @property
    def environment_name(self) -> str:
        """The name by which the setting is reported: the variable that gave the value, else its first."""
        return self.source.name if self.source.kind is SourceKind.ENVIRONMENT else self.declaration.environment[0]

    def problem(self, expected: str) -> Problem:
        """Report this value as wrong, or as missing where there is none."""
        given = None
        if self.text is not None:
            given = self.declaration.shown(self.text)
            if not self.is_set:
                given += " by default"
        flag = self.source.name if self.source.kind is SourceKind.FLAG else None
        return Problem(self.environment_name, given, expected, flag)


def find_candidate(declaration: Declaration, flags: Mapping[str, str], environ: Mapping[str, str]) -> Candidate:
    """Return the text that counts for a setting, not parsed yet: flag, then environment, then default.

    `flags` maps the names of settings to what was given. An empty text counts as not given.
    """
    if flag_text := flags.get(declaration.name):
        return Candidate(declaration, Source(SourceKind.FLAG, declaration.flags[0]), flag_text)
    for name in declaration.environment:
        if text := environ.get(name):
            return Candidate(declaration, Source(SourceKind.ENVIRONMENT, name), text)
    return Candidate(declaration, Source(SourceKind.DEFAULT), declaration.default_text)
