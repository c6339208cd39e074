"""How services refuse a request for its time or its credentials, word for word, and answers that only look like it.

The wordings are those that users of AWS quote (reference: traps 15 and 16), with times that fit `server_time`.
"""

from __future__ import annotations

from time import gmtime, strftime
from typing import NamedTuple

from aws_signing_proxy.sigv4.refusals import Refusal

__all__ = ["AMBIGUOUS", "OTHERS", "REJECTED", "SKEWED", "Answer"]

SKEW, REJECTION = Refusal.CLOCK_SKEW, Refusal.CREDENTIALS


class Answer(NamedTuple):
    """One answer. `fields` are lines with their CRLF; `body` holds `%(now)s`, the service's time, where it tells it."""

    name: str
    status: int
    body: str
    fields: bytes = b""

    def body_at(self, server_time: float) -> bytes:
        """Return the body as it is at a time of the service, in seconds since the epoch."""
        basic = strftime("%Y%m%dT%H%M%SZ", gmtime(server_time))
        extended = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(server_time))
        return self.body.replace("%(now)s", basic).replace("%(iso)s", extended).encode()


_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_EXPIRED = "Signature expired: 20150801T000000Z is now earlier than 20150801T001000Z (%(now)s - 5 min.)"
_EARLY = "Signature not yet current: 20230804T000000Z is still later than 20230803T172233Z (%(now)s + 5 min.)"


def _query(code: str, message: str) -> str:
    return (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n    <Type>Sender</Type>\n'
        f"    <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n"
        "  <RequestId>c6b6cd2b-0000</RequestId>\n</ErrorResponse>\n"
    )


def _ec2(code: str, message: str) -> str:
    return (
        f"{_XML}<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        "<RequestID>213aa903-1660</RequestID></Response>"
    )


def _s3(code: str, message: str, rest: str = "") -> str:
    return f"{_XML}<Error><Code>{code}</Code><Message>{message}</Message>{rest}<RequestId>A1</RequestId></Error>"


SKEWED = (
    Answer(
        "S3",
        403,
        _s3(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            "<RequestTime>20150801T000000Z</RequestTime><ServerTime>%(iso)s</ServerTime>"
            "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>",
        ),
    ),
    Answer("MinIO", 403, _s3("RequestTimeTooSkewed", "The difference between the request time and ... too large.")),
    Answer(
        "DynamoDB",
        400,
        '{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"' + _EARLY + '"}',
    ),
    Answer("Kinesis", 400, '{"__type":"InvalidSignatureException","message":"' + _EXPIRED + '"}'),
    Answer(
        "REST-JSON",
        403,
        '{"Message":"' + _EXPIRED + '"}',
        b"x-amzn-ErrorType: InvalidSignatureException:http://internal.amazon.com/coral/com.amazon.coral.service/\r\n",
    ),
    Answer("Query", 403, _query("SignatureDoesNotMatch", _EXPIRED)),
    Answer("Query in JSON", 403, '{"Error":{"Code":"SignatureDoesNotMatch","Message":"' + _EARLY + '"}}'),
    Answer("OpenSearch", 403, '{"message":"' + _EXPIRED + '"}'),
    Answer("API Gateway", 403, '{"message":"' + _EARLY + '"}', b"x-amzn-ErrorType: InvalidSignatureException\r\n"),
    Answer("pretty JSON", 403, '{\n  "message" : "' + _EXPIRED + '"\n}\n'),
    Answer("in the future", 403, _query("RequestInTheFuture", "The request is in the future.")),
)
"""Refused for the time."""

REJECTED = (
    Answer("S3", 400, _s3("ExpiredToken", "The provided token has expired.", "<Token-0>" + "t" * 1500 + "</Token-0>")),
    Answer("S3, unknown", 403, _s3("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist.")),
    Answer("STS", 403, _query("ExpiredToken", "The security token included in the request is expired")),
    Answer("IAM", 403, _query("InvalidClientTokenId", "The security token included in the request is invalid.")),
    Answer("DynamoDB", 400, '{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"..."}'),
    Answer("Kinesis", 400, '{"__type":"UnrecognizedClientException","message":"The security token ... is invalid."}'),
    Answer("REST-JSON", 403, '{"message":null}', b"X-Amzn-Errortype: ExpiredTokenException:\r\n"),
    Answer("OpenSearch", 403, '{"message":"The security token included in the request is expired"}'),
    Answer("API Gateway", 403, '{"message":"The security token included in the request is invalid."}'),
    Answer("STS in JSON", 403, '{"Error":{"Code":"ExpiredToken","Message":"...","Type":"Sender"},"RequestId":"1"}'),
)
"""Refused for the credentials."""

AMBIGUOUS = (
    Answer("EC2", 400, _ec2("RequestExpired", "Request has expired.")),
    Answer("EC2", 401, _ec2("AuthFailure", "AWS was not able to validate the provided access credentials")),
)
"""Refused for one or the other: EC2 says the same for both."""

OTHERS = (
    Answer("policy of S3", 403, _s3("AccessDenied", "Access Denied")),
    Answer(
        "policy",
        403,
        '{"Message":"User: arn:aws:iam::1:user/ExpiredToken is not authorized to perform: es:ESHttpGet"}',
    ),
    Answer("policy of EC2", 400, _ec2("AuthFailure", "Not authorized for images: [ami-1]")),
    Answer("signature", 403, _s3("SignatureDoesNotMatch", "The request signature we calculated does not match ...")),
    Answer("signature, Query", 403, _query("SignatureDoesNotMatch", "The request signature we calculated ...")),
    Answer(
        "signature, JSON",
        400,
        '{"__type":"InvalidSignatureException","message":"The request signature we calculated does not match."}',
    ),
    Answer("signature, field", 403, '{"message":"x"}', b"x-amzn-ErrorType: InvalidSignatureException\r\n"),
    Answer("quoted by OpenSearch", 400, '{"error":{"reason":"[{\\"code\\":\\"ExpiredToken\\"}] is no query"}}'),
    Answer("deep in a document", 400, '{"items":[{"code":"ExpiredToken","message":"' + _EXPIRED + '"}]}'),
    Answer("in a message's middle", 403, '{"message":"Not found: Signature expired: x"}'),
    Answer("in a page", 403, "<html><body>&lt;Code&gt;ExpiredToken&lt;/Code&gt; Signature expired:</body></html>"),
    Answer("second code", 403, _s3("AccessDenied", "x", "<Code>RequestTimeTooSkewed</Code>")),
    Answer("text", 403, "ExpiredToken RequestTimeTooSkewed Signature expired: x"),
    Answer("nothing", 403, ""),
    Answer("half a document", 403, '{"message":'),
)
"""Refused, or not, for something else: these are the client's."""
