"""An answer as botocore reads one: what a handler of its `before-send` event returns in the place of its own HTTP."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any, Final

from botocore.awsrequest import AWSResponse

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.exchange import Answer

__all__ = ["as_botocore"]


# What must not be shown, as it stands in answers of STS (XML) and of IAM Identity Center (JSON).
_SECRET: Final = re.compile(
    r"<(?:SecretAccessKey|SessionToken)>\s*([^<]+?)\s*<"
    r'|"(?:secretAccessKey|sessionToken|accessToken|refreshToken)"\s*:\s*"([^"]+)"'
)


def as_botocore(fetch: Fetch, request: Any, answer: Answer) -> AWSResponse:
    """Return the answer to botocore's prepared `request`. Its secrets are made known before anything else reads it."""
    for in_xml, in_json in _SECRET.findall(answer.body.decode("utf-8", "replace")):
        fetch.secret(html.unescape(in_xml) or in_json)
    return AWSResponse(request.url, answer.status, dict(answer.fields), _Whole(answer.body))


class _Whole:
    """An answer's body, for botocore's response, which reads it as a stream."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterable[bytes]:
        return (self._body,)
