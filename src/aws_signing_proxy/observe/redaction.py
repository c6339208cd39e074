"""The last line of defence against secrets in logs.

The first is that nothing of ours hands a secret to a logger. This one is for what others log (a library's debug
line, the message of an exception that quotes what it was given): values under names that sound secret, values
written as `name=value` or `name: value`, and every occurrence of a secret that is in use, in any string that is
about to be written.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "Redactor"]

MASK: Final = "***"

# A shorter value is a stand-in ("test", "testing"), and replacing it would mangle words that merely contain it.
_SHORTEST_SECRET: Final = 8

_SECRET_NAME: Final = re.compile(
    r"authorization|secret|password|passwd|token|cookie|signature|private_?key|api_?key", re.IGNORECASE
)
# What is said about a secret is none: where it is stored, when it ends.
_ABOUT_A_SECRET: Final = re.compile(r"(?:_file|_path|_url|_at|_in|_seconds|_count|_total)\Z", re.IGNORECASE)

_WRITTEN_OUT: Final = re.compile(
    r"""(?P<name>
          authorization["']?\s*[:=]\s*(?:b?["'])?(?:(?:bearer|basic)\s+)? |
          (?:x-amz-security-token|x-amz-s3session-token|x-amz-signature|signature|x-vault-token|
             x-aws-ec2-metadata-token|aws_secret_access_key|aws_session_token|secretaccesskey|sessiontoken|
             secret_key|security_token|client_secret|password|id_?token|access_token
          )["']?\s*[:=]\s*(?:b?["'])?
        )
        (?P<value>[^\s"'&,;<>*]+)""",
    re.IGNORECASE | re.VERBOSE,
)

_URL_SAFE: Final = str.maketrans("+/", "-_")
_DEEPEST: Final = 5
_MOST_ITEMS: Final = 200


class Redactor:
    """Knows the secrets in use, and takes them out of what is about to be written."""

    def __init__(self) -> None:
        # Counted, because two owners may hold the same secret and let it go at different times.
        self._holders: Counter[str] = Counter()
        # Credentials are fetched in a thread of their own, which registers what it meets.
        self._lock = threading.RLock()
        # Made once for each secret: with a refresh ten of them come and go, partly in the event loop (1.1 ms a time).
        self._forms_of: dict[str, set[str]] = {}
        self._forms: tuple[str, ...] = ()

    def register(self, secret: str) -> None:
        """Replace `secret` from now on, also as JSON, Python, URLs, HTML, base64 write it. Short ones are ignored."""
        if len(secret) >= _SHORTEST_SECRET:
            with self._lock:
                self._holders[secret] += 1
                if self._holders[secret] == 1:
                    self._forms_of[secret] = _forms(secret)
                    self._renew()

    def forget(self, secret: str) -> None:
        """Take back one `register`."""
        with self._lock:
            if secret in self._holders:
                self._holders[secret] -= 1
                if self._holders[secret] == 0:
                    del self._holders[secret], self._forms_of[secret]
                    self._renew()

    def replace(self, forgotten: Iterable[str], new: Iterable[str]) -> None:
        """Register the new secrets, then forget the others: none that is in both is ever unknown in between."""
        for secret in new:
            self.register(secret)
        for secret in forgotten:
            self.forget(secret)

    def _renew(self) -> None:
        forms = set().union(*self._forms_of.values())
        # The longest first: a secret may contain another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def mask_known(self, text: str) -> str:
        """Return `text` without the registered secrets; nothing else is looked for."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def mask(self, text: str) -> str:
        """Return `text` without the registered secrets, and without values that are written out under a secret name."""
        return _WRITTEN_OUT.sub(rf"\g<name>{MASK}", self.mask_known(text))

    def clean(self, value: object) -> object:
        """Return `value` as something that JSON can write, with every string in it masked. Never raises."""
        return self._clean(value, 0)

    def clean_field(self, name: str, value: object) -> object:
        """Return a field's value cleaned, or masked as a whole where its name says that it is a secret."""
        return self._clean_item(name, value, 0)

    def _clean(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, str):
            return self.mask(str.__str__(value))
        if depth < _DEEPEST and isinstance(value, Mapping | list | tuple | set | frozenset):
            try:
                return self._clean_container(value, depth + 1)
            except Exception:  # noqa: BLE001 - a container of somebody else's may do anything; its repr is tried next
                return self.mask(_text(value))
        return self.mask(_text(value))

    def _clean_container(self, value: Mapping[Any, Any] | Collection[Any], depth: int) -> object:
        if isinstance(value, Mapping):
            named = [(_text(name), item) for name, item in islice(value.items(), _MOST_ITEMS)]
            return {self.mask(name): self._clean_item(name, item, depth) for name, item in named}
        return [self._clean(item, depth) for item in islice(value, _MOST_ITEMS)]

    def _clean_item(self, name: str, value: object, depth: int) -> object:
        is_harmless = value is None or isinstance(value, bool | int | float)
        if not is_harmless and _SECRET_NAME.search(name) and not _ABOUT_A_SECRET.search(name):
            return MASK
        return self._clean(value, depth)


def _forms(secret: str) -> set[str]:
    written = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    written |= {quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret, quote=False)}
    return written | set(_in_base64(secret.encode("utf-8", "surrogatepass")))


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what base64 makes of the secret within something longer ("user:secret"), wherever it begins there.

    Without the character at either end that depends on what surrounds it.
    """
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode()
        core = encoded[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        yield core
        yield core.translate(_URL_SAFE)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a log line never raises
        return f"<unprintable {type(value).__name__}>"
