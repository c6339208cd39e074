"""The last line of defence against secrets in logs.

The first is that nothing of ours hands a secret to a logger. This one is for what others log (a library's debug
line, the message of an exception that quotes what it was given): values under names that sound secret, values
written as `name=value` or `name: value`, and every occurrence of a secret that is in use, in any string that is
about to be written.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from aws_signing_proxy.observe.secret_forms import SecretForm, forms_of

__all__ = ["MASK", "Redactor"]

MASK: Final = "***"

_SECRET_NAME: Final = re.compile(
    r"authorization|secret|password|passwd|token|cookie|signature|private_?key|api_?key", re.IGNORECASE
)
# What is said about a secret is none: where it is stored, when it ends.
_ABOUT_A_SECRET: Final = re.compile(r"(?:_file|_path|_url|_at|_in|_seconds|_count|_total)\Z", re.IGNORECASE)

# In what quotes another text these are escaped, more than once perhaps.
_QUOTE: Final = r"""(?:\\*+["']|(?:%(?:25)*2[27])|&(?:amp;)*(?:quot|apos|\#0*3[49]|\#x0*2[27]);)"""
_IS: Final = r"""(?:\s*+(?:[:=]|%(?:25)*3[AD]|\\u003[ad])\s*+)"""
_WRITTEN_OUT: Final = re.compile(
    rf"""(?P<name>
          authorization{_QUOTE}?{_IS}(?:b?{_QUOTE})?(?:(?:bearer|basic)\s+)? |
          (?:x-amz-security-token|x-amz-s3session-token|x-amz-signature|signature|x-vault-token|
             x-aws-ec2-metadata-token|aws_secret_access_key|aws_session_token|secretaccesskey|sessiontoken|
             secret_key|security_token|client_secret|client_assertion|secret_id|password|id_?token|access_token
          ){_QUOTE}?{_IS}(?:b?{_QUOTE})? |
          # The original's dialect calls it so; without the quotation marks it is a word.
          (?:["';]|%(?:25)*2[27])secret{_QUOTE}{_IS}{_QUOTE}
        )
        (?P<value>(?:(?!\\{{1,8}}["'])[^\s"'&,;<>*])+)""",
    re.IGNORECASE | re.VERBOSE,
)

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
        self._forms_of: dict[str, tuple[SecretForm, ...]] = {}
        self._forms: tuple[SecretForm, ...] = ()

    def register(self, secret: str) -> None:
        """Replace `secret` from now on, also as JSON, Python, URLs, HTML, base64 write it, one within the other too.

        One of fewer than 8 characters is replaced where it is whole; of fewer than 4, or of letters alone, where it is
        a value (`name=x`, `"x"`): what merely looks like it stays as it is ("test" in "/test/latest").
        """
        if secret:
            with self._lock:
                self._holders[secret] += 1
                if self._holders[secret] == 1:
                    self._forms_of[secret] = forms_of(secret)
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
        forms = (form for forms in self._forms_of.values() for form in forms)
        # The longest first: a secret may contain another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def mask_known(self, text: str) -> str:
        """Return `text` without the registered secrets; nothing else is looked for."""
        met = [form for form in self._forms if form.run in text]
        if not met:
            return text
        for form in met:
            text = form.masked(text, MASK)
        for form in met:
            text = form.masked_remains(text, MASK)
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


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a log line never raises
        return f"<unprintable {type(value).__name__}>"
