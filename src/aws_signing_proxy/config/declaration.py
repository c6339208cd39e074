"""How a setting is declared: everything that is to be said about it, at one place, in its field's metadata."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from aws_signing_proxy.config.kinds import Kind

__all__ = ["PREFIX", "Declaration", "Section", "declarations_of", "setting"]

T = TypeVar("T")

# What the names of this program's own settings start with in the environment.
PREFIX = "ASP_"


class Section(StrEnum):
    """The heading under which a setting stands in the help and the documentation, in this order."""

    TARGET = "Target and signing"
    LISTENING = "Listening"
    TLS = "Listening: TLS"
    CREDENTIALS = "Credentials"
    ROLES = "Credentials: roles"
    OPEN_ID = "Credentials: OpenID Connect and OAuth 2.0"
    VAULT = "Credentials: Vault"
    LIMITS = "Bodies and limits"
    UPSTREAM = "Upstream connections"
    WAY = "The way to the target"
    TIMEOUTS = "Timeouts"
    OBSERVE = "Logs and metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One setting.

    `environment` holds its names in the environment, the first found wins; `flags` its flags with their
    two dashes, the one named after the environment first, then the original proxy's. `default_text` is
    the default as a user would write it, None where there is none. `unset_meaning` says what happens then.
    """

    name: str
    kind: Kind[Any]
    section: Section
    environment: tuple[str, ...]
    flags: tuple[str, ...]
    summary: str
    default_text: str | None
    unset_meaning: str | None
    is_required: bool
    is_secret: bool
    example: str | None

    def shown(self, text: str) -> str:
        """Return `text`, a value of this setting, as it may be shown to a person."""
        return "a secret that is not shown here" if self.is_secret else self.kind.show(text)

    @property
    def expected(self) -> str:
        """What is expected, with the example where there is one."""
        return f"{self.kind.expected}, e.g. {self.example}" if self.example else self.kind.expected


@overload
def setting(
    kind: Kind[T],
    section: Section,
    *environment: str,
    summary: str,
    required: bool,
    flags: tuple[str, ...],
    example: str,
) -> T: ...
@overload
def setting(
    kind: Kind[T], section: Section, *environment: str, summary: str, default: str, flags: tuple[str, ...] = ()
) -> T: ...
@overload
def setting(
    kind: Kind[T],
    section: Section,
    *environment: str,
    summary: str,
    flags: tuple[str, ...] = (),
    unset: str | None = None,
    secret: bool = False,
    example: str | None = None,
) -> T | None: ...
def setting(
    kind: Kind[Any],
    section: Section,
    *environment: str,
    summary: str,
    flags: tuple[str, ...] = (),
    default: str | None = None,
    unset: str | None = None,
    required: bool = False,
    secret: bool = False,
    example: str | None = None,
) -> Any:
    """Declare a setting, as the default of its field in a dataclass; `declarations_of` reads it back.

    `environment` are its names in order of precedence. Every name ASP_X_Y brings the flag --x-y by itself;
    `flags` are those beside them. `default` is written as a user would, and parsed by `kind`.
    """
    metadata = {
        "kind": kind,
        "section": section,
        "environment": environment,
        "flags": (*_flags_named_after(environment), *flags),
        "summary": summary,
        "default_text": default,
        "unset_meaning": unset,
        "is_required": required,
        "is_secret": secret,
        "example": example,
    }
    if required:
        return field(metadata=metadata)
    return field(default=None if default is None else kind.parse(default), metadata=metadata)


def _flags_named_after(environment: tuple[str, ...]) -> list[str]:
    return [
        f"--{name.removeprefix(PREFIX).lower().replace('_', '-')}" for name in environment if name.startswith(PREFIX)
    ]


def declarations_of(settings_class: type[DataclassInstance]) -> tuple[Declaration, ...]:
    """Return the declarations of a dataclass's fields, in their order."""
    return tuple(Declaration(name=declared.name, **declared.metadata) for declared in fields(settings_class))
