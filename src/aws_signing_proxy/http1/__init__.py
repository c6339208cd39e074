"""HTTP/1.1 messages as bytes: heads, framing, chunked bodies, local answers. Pure.

The rules are RFC 9110 and RFC 9112, read strictly: what two readers could read in two ways is refused.
Field sections are judged by llhttp (through `httptools`), the parser of Node.js; this package is the only
place that knows it. Start lines, Host and the framing fields, on which llhttp has no or a lenient opinion,
are judged here.

`request` and `response` parse heads, `chunked` finds the end of a chunked body, `response_reader` cuts the
upstream's bytes into responses, `writing` renders what the proxy itself has to say.
"""
