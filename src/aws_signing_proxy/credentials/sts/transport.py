"""Sending one request to STS and reading its answer, within the time that a fetch has, whatever the server does.

botocore fixes its timeouts when a client is made, waits for each piece of an answer anew, and reads an answer of any
size; here the whole exchange has one end. It is plugged into botocore by its `before-send` event. This module imports
botocore and urllib3: it is imported where STS is asked.
"""

from __future__ import annotations

from typing import Any, Final

from botocore.awsrequest import AWSResponse

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.botocore_answer import as_botocore
from aws_signing_proxy.credentials.http.exchange import Answer, HttpClient
from aws_signing_proxy.credentials.http.trusted_certificates import TrustedCertificates
from aws_signing_proxy.credentials.sts.settings import StsSettings

__all__ = ["StsTransport"]

_EXCHANGE_SECONDS: Final = 15.0
_LARGEST_ANSWER_BYTES: Final = 256 * 1024  # an answer of STS has some 2 to 8 KiB


class StsTransport:
    """Keeps the connections to one STS. Used by one thread at a time. `answer`: the last one's head, or None."""

    def __init__(self, settings: StsSettings) -> None:
        trusted = TrustedCertificates(setting="AWS_CA_BUNDLE", bundle=settings.ca_bundle, environ=settings.environ)
        self._client = HttpClient(trusted, environ=settings.environ, largest_answer_bytes=_LARGEST_ANSWER_BYTES)
        self.answer: Answer | None = None

    def close(self) -> None:
        """Close the connections that are kept. The next request opens another."""
        self._client.close()

    def send(self, request: Any, fetch: Fetch) -> AWSResponse:
        """Send botocore's prepared request; return the answer whole.

        Raises:
            ExchangeError: There was no answer, or it did not arrive whole, or not in time.
            CertificateFileError: What is to be trusted cannot be read.
        """
        self.answer = None
        answer = self._client.send(
            fetch,
            request.method,
            request.url,
            fields=dict(request.headers.items()),
            body=request.body,
            at_most_seconds=_EXCHANGE_SECONDS,
            is_repeatable=True,
        )
        # Kept without its body, which has the credentials.
        self.answer = answer._replace(body=b"")
        return as_botocore(fetch, request, answer)
