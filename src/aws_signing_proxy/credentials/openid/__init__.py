"""Credentials by a token of an OpenID Connect or OAuth 2.0 server: `provider` is the source, the others its parts."""
