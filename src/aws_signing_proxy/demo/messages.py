"""What the stand-in receives and answers, and what the demo's client gets back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Fields", "Received", "Reply"]

Fields: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the stand-in received it: the raw target, the fields in order, the whole body."""

    method: str
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def path(self) -> bytes:
        """The raw path of the target."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The raw query of the target, without its `?`."""
        return self.target.partition(b"?")[2]

    def field(self, name: bytes) -> str | None:
        """Return the value of the first field called `name` (lower case), or None."""
        for found, value in self.fields:
            if found.lower() == name:
                return value.decode("latin-1")
        return None


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: its status, its fields without framing, its body."""

    status: int
    fields: Fields
    body: bytes = b""

    def field(self, name: str) -> str | None:
        """Return the value of the first field called `name` (lower case), or None."""
        for found, value in self.fields:
            if found.lower() == name:
                return value
        return None
