"""A transparent HTTP proxy that signs each request with AWS Signature Version 4."""

__version__ = "0.1.0"
