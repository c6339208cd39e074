"""What the proxy tells about itself: numbers, log lines, the access log.

`counters` holds the numbers, as integers that the request path bumps; `metrics` declares what is told about them, and
`exposition` renders that for Prometheus. `logs` renders every log line of the process, `redaction` keeps secrets out of
them, `access_log` writes one line a request, and `lines` is the stream that all of them write to.
"""
