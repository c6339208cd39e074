"""One service's part of botocore's endpoints.json, without ever holding the rest.

The file has 1.2 MB, which become 7 MiB of dictionaries; one service's part has some 10 KB. The services are read one
after the other and dropped at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["endpoints_of"]

_SPACE: Final = re.compile(r"[ \t\n\r]*")


def endpoints_of(service: str, path: Path) -> dict[str, Any] | None:
    """Return the document with no other service in it; None where it is not laid out as it was when this was written.

    Then the caller reads all of it. Its layout: {"partitions": [{"services": {NAME: {...}}, ...}], ...}.
    """
    try:
        reader = _Reader(path.read_text(encoding="utf-8"))
        return {
            key: [_partition(reader, service) for _ in reader.elements()] if key == "partitions" else reader.value()
            for key in reader.members()
        }
    except (OSError, ValueError):
        return None


def _partition(reader: _Reader, service: str) -> dict[str, Any]:
    partition: dict[str, Any] = {}
    for key in reader.members():
        if key != "services":
            partition[key] = reader.value()
            continue
        partition[key] = {}
        for name in reader.members():
            data = reader.value()
            if name == service:
                partition[key][name] = data
    return partition


class _Reader:
    """Reads JSON from left to right, a value at a time. Raises ValueError where something else comes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

    def value(self) -> Any:
        self._skip_space()
        value, self._at = self._decode(self._text, self._at)
        return value

    def members(self) -> Iterator[str]:
        """Yield each name of an object; its value is to be read before the next."""
        self._expect("{")
        while not self._take("}"):
            name = self.value()
            self._expect(":")
            yield name
            self._take(",")

    def elements(self) -> Iterator[None]:
        """Yield for each element of an array, which is to be read before the next."""
        self._expect("[")
        while not self._take("]"):
            yield
            self._take(",")

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match is not None else self._at

    def _take(self, character: str) -> bool:
        self._skip_space()
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._take(character):
            raise ValueError(f"no {character!r} at {self._at}")
