"""`aws-signing-proxy demo`: see requests signed, forwarded and verified, without AWS and without settings.

`stand_in` plays AWS: it verifies every signature with `sigv4.verification` and refuses bad ones in AWS's words;
`documents` and `objects` are what it keeps behind that, a little of OpenSearch and a little of S3. `tour` sends
requests of different kinds through two real proxies, `client` is what it sends them with, `table` prints what came
of them, and `command` puts it all together.
"""
