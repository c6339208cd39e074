"""Request heads: parsed strictly, with the framing of the body decided (RFC 9112)."""

from __future__ import annotations

import re

from aws_signing_proxy.errors import DownstreamError, ErrorCode
from aws_signing_proxy.http1.fields import BARE_LINE_END, connection_options, fields_problem
from aws_signing_proxy.http1.request_fields import FieldSection, KnownHead, RequestFields

__all__ = [
    "CHUNKED",
    "RequestHead",
    "early_head_problem",
    "parse_request_head",
    "without_empty_lines",
]

CHUNKED = -1
"""`RequestHead.body_length` of a chunked body, whose length is not known."""

# RFC 9112 section 3: exactly one space between the parts. Bytes above 0x7F are no part of a URI but widely
# sent in targets (curl sends what it is given); they are percent-encoded before anything is signed or sent.
_METHOD_AND_TARGET = rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) "
_REQUEST_LINE = re.compile(_METHOD_AND_TARGET + rb"HTTP/1\.([01])")
_OTHER_VERSION = re.compile(_METHOD_AND_TARGET + rb"HTTP/[0-9]+(?:\.[0-9]+)?")
_MOST_LENGTH_DIGITS = 18
_ZERO = ord("0")
_CONTENT_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
# RFC 3986 section 3.2.2 and 3.2.3, without userinfo (RFC 9110 section 4.2.4) and never empty.
_AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE_FORM = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)")
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
# In any case: a method's case matters (RFC 9110 section 9.1), but not to every service.
_REFUSED_METHODS = {
    b"CONNECT": "CONNECT asks for a tunnel, and what goes through a tunnel cannot be signed. "
    "Use the proxy's address as the service's endpoint, not as an HTTP proxy.",
    # RFC 9110 section 9.3.8 forbids to send credentials in it.
    b"TRACE": "TRACE asks for the request to be sent back, and with it the signature and the session token.",
}
_START_LINE_FOR_LLHTTP = b"POST / HTTP/1.1\r\n"


_PLAIN_FIELDS = RequestFields()


class RequestHead:
    """A request's head, valid by the rules of this package.

    `method` as sent; `target` in origin-form; `is_http10`; `section`: what the fields say; `known`: what is remembered
    of this head; `body_length`: bytes, 0 for no body, CHUNKED when unknown; `has_content_length`: whether the client
    gave one; `keep_alive`: whether the client allows the connection to live on; `expects_continue`: whether it waits
    for 100 (Continue).
    """

    __slots__ = (
        "body_length",
        "expects_continue",
        "has_content_length",
        "is_http10",
        "keep_alive",
        "known",
        "method",
        "section",
        "target",
    )

    def __init__(self, known: KnownHead, *, is_http10: bool = False) -> None:
        self.known = known
        self.method = known.method
        self.target = known.target
        section = self.section = known.section
        self.is_http10 = is_http10
        self.body_length = 0
        self.has_content_length = False
        self.keep_alive = section.keep_alive
        self.expects_continue = section.expects_continue

    def __repr__(self) -> str:
        # Only the path: a query may hold a presigned signature.
        path = self.target.partition(b"?")[0]
        return f"<RequestHead {self.method.decode('latin-1')} {path.decode('latin-1')} body={self.body_length}>"


def parse_request_head(head: bytes, fields: RequestFields = _PLAIN_FIELDS) -> RequestHead:
    r"""Parse `head`, everything up to and with the empty line, without empty lines before it.

    Raises DownstreamError for everything that RFC 9112 forbids or leaves open to two readings.
    """
    key, content_length = _split_content_length(head)
    known = fields.find_head(key)
    if known is None:
        return _parse_unknown(head, key, fields, content_length)
    request = RequestHead(known)
    if content_length is not None:
        request.body_length = content_length
        request.has_content_length = True
    return request


def _split_content_length(head: bytes) -> tuple[bytes, int | None]:
    """Return the head without Content-Length, and its value; only as most clients spell it.

    Any other spelling stays where it is: such lines are judged each time they come (see `RequestFields`).
    """
    start = head.find(b"\r\nContent-Length: ")
    if start < 0:
        start = head.find(b"\r\ncontent-length: ")
        if start < 0:
            return head, None
    end = head.find(b"\r\n", start + 2)
    value = head[start + 18 : end]
    # What _CONTENT_LENGTH takes, in half its time.
    if not value.isdigit() or len(value) > _MOST_LENGTH_DIGITS or (value[0] == _ZERO and len(value) > 1):
        return head, None
    return head[:start] + head[end:], int(value)


def _parse_unknown(head: bytes, key: bytes, fields: RequestFields, content_length: int | None) -> RequestHead:
    """Parse a head that is not remembered; its field section may be."""
    line_end = head.index(b"\r\n")
    match = _REQUEST_LINE.fullmatch(head, 0, line_end)
    if match is None:
        raise early_head_problem(head) or _bad_request_line(head[:line_end])
    method, target, minor_version = match.groups()
    refusal = _REFUSED_METHODS.get(method.upper())
    lines = key[line_end:-2]
    section = fields.find_section(lines)
    if section is None or minor_version == b"0" or refusal is not None:
        return _judge(method, target, head, key, fields, refusal=refusal, is_http10=minor_version == b"0")
    known = KnownHead(method, target if target[:1] == b"/" else _origin_form(target), section)
    fields.remember_head(key, known)
    request = RequestHead(known)
    if content_length is not None:
        request.body_length = content_length
        request.has_content_length = True
    return request


def _judge(
    method: bytes,
    target: bytes,
    head: bytes,
    key: bytes,
    fields: RequestFields,
    *,
    refusal: str | None,
    is_http10: bool,
) -> RequestHead:
    """Parse a head whose fields have not been seen before."""
    line_end = head.index(b"\r\n")
    block = head[line_end + 2 : -2]
    problem = fields_problem(_START_LINE_FOR_LLHTTP, block)
    if problem is not None:
        # The same judgement as of an incomplete head: so an answer does not depend on how the head was cut.
        raise early_head_problem(head) or _bad_fields(problem)
    if refusal is not None:
        raise DownstreamError(ErrorCode.METHOD_NOT_SUPPORTED, refusal)
    if target[:1] != b"/":
        target = _origin_form(target)
    kept, noted = fields.sort(block)
    section = FieldSection(kept, noted)
    known = KnownHead(method, target, section)
    request = RequestHead(known, is_http10=is_http10)
    _read_control_fields(request, section)
    if not is_http10 and fields.remember_section(key[line_end:-2], section):
        fields.remember_head(key, known)
    return request


def _read_control_fields(request: RequestHead, section: FieldSection) -> None:
    hosts = 0
    for name, value in section.noted:
        match name:
            case b"host":
                hosts += 1
                if _AUTHORITY.fullmatch(value) is None:
                    raise DownstreamError(ErrorCode.BAD_HOST, "The Host field's value is no valid host and port.")
            case b"content-length":
                _read_content_length(request, value)
            case b"transfer-encoding":
                _read_transfer_encoding(request, value)
            case b"connection":
                section.connection = _with_options(section.connection, value)
            case b"expect":
                _read_expectation(request, value)
    if hosts != 1 and (hosts or not request.is_http10):
        how_many = "no Host field" if not hosts else f"{hosts} Host fields"
        raise DownstreamError(ErrorCode.BAD_HOST, f"The request has {how_many}; exactly one is required.")
    options = section.connection or ()
    request.keep_alive = b"close" not in options and (b"keep-alive" in options or not request.is_http10)
    section.keep_alive = request.keep_alive
    section.expects_continue = request.expects_continue


def _with_options(options: set[bytes] | None, value: bytes) -> set[bytes]:
    if options is None:
        return connection_options(value)
    options |= connection_options(value)  # in place: a head has room for thousands of them
    return options


def _require_first_framing(request: RequestHead) -> None:
    # llhttp has refused a second one already; the rule that everything rests on does not hang on one parser alone.
    if request.has_content_length or request.body_length == CHUNKED:
        raise DownstreamError(
            ErrorCode.AMBIGUOUS_FRAMING,
            "Content-Length and Transfer-Encoding exclude each other, and each may occur once.",
        )


def _read_content_length(request: RequestHead, value: bytes) -> None:
    _require_first_framing(request)
    # int() would take "+5", "5_0" and Unicode digits; a leading zero is octal to some readers.
    if _CONTENT_LENGTH.fullmatch(value) is None:
        raise DownstreamError(
            ErrorCode.AMBIGUOUS_FRAMING, "Content-Length must be one decimal number without sign or leading zero."
        )
    request.body_length = int(value)
    request.has_content_length = True


def _read_transfer_encoding(request: RequestHead, value: bytes) -> None:
    _require_first_framing(request)
    if request.is_http10:
        raise DownstreamError(
            ErrorCode.AMBIGUOUS_FRAMING, "An HTTP/1.0 request cannot have Transfer-Encoding; send Content-Length."
        )
    if value.lower() != b"chunked":
        raise DownstreamError(
            ErrorCode.AMBIGUOUS_FRAMING, "The only Transfer-Encoding that can be read in one way is exactly 'chunked'."
        )
    request.body_length = CHUNKED


def _read_expectation(request: RequestHead, value: bytes) -> None:
    if request.is_http10:
        return  # RFC 9110 section 10.1.1: ignored in HTTP/1.0
    if value.lower() != b"100-continue":
        raise DownstreamError(ErrorCode.EXPECTATION_FAILED, "The only expectation that can be met is 100-continue.")
    request.expects_continue = True


def _origin_form(target: bytes) -> bytes:
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise DownstreamError(
            ErrorCode.BAD_REQUEST_TARGET,
            "The request target must be a path that begins with '/', or an absolute http URL.",
        )
    authority, rest = match.groups()
    if _AUTHORITY.fullmatch(authority) is None:
        raise DownstreamError(ErrorCode.BAD_REQUEST_TARGET, "The absolute request target names no valid host and port.")
    # RFC 9112 section 3.2.1: an empty path is sent as "/".
    return rest if rest[:1] == b"/" else b"/" + rest


def _bad_request_line(line: bytes) -> DownstreamError:
    if _OTHER_VERSION.fullmatch(line):  # HTTP/1.1 and HTTP/1.0 never come here with a good method and target
        return DownstreamError(ErrorCode.VERSION_NOT_SUPPORTED, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if line.startswith(b"\x16\x03"):
        return DownstreamError(
            ErrorCode.MALFORMED_REQUEST, "This looks like a TLS handshake; the proxy speaks plain HTTP here."
        )
    return DownstreamError(
        ErrorCode.MALFORMED_REQUEST,
        "The request line must be a method, a target and HTTP/1.1, with one space between them.",
    )


def _bad_fields(problem: str) -> DownstreamError:
    # llhttp's own sentence ends the detail: it names the rule, and never repeats what was sent.
    is_framing = "content-length" in problem or "transfer-encoding" in problem
    code = ErrorCode.AMBIGUOUS_FRAMING if is_framing else ErrorCode.MALFORMED_REQUEST
    return DownstreamError(code, f"The request's fields are not well-formed: {problem}.")


def without_empty_lines(data: bytes) -> bytes:
    """Return `data` without the empty lines it begins with: they stand before a request line (RFC 9112 section 2.2).

    All of them, not one: so the same bytes mean the same however they are cut into reads.
    """
    empty_lines = _EMPTY_LINES.match(data)
    return data[empty_lines.end() :] if empty_lines else data


def early_head_problem(piece: bytes, judged: int = 0) -> DownstreamError | None:
    """Judge an incomplete head: what can never become a valid one is refused at once, not at the time-out.

    `judged`: how many bytes of `piece` have been judged before, less the three in which a line end may begin.
    """
    if piece.startswith(b"\x16\x03"):
        return _bad_request_line(piece)
    if BARE_LINE_END.search(piece, judged):
        return DownstreamError(ErrorCode.MALFORMED_REQUEST, "A line ends with a bare CR or LF instead of CRLF.")
    if piece.find(b"\x00", judged) >= 0:
        return DownstreamError(ErrorCode.MALFORMED_REQUEST, "The request's head holds a NUL character.")
    return None
