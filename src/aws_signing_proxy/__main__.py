"""`python -m aws_signing_proxy`: the same as the command `aws-signing-proxy`."""

from __future__ import annotations

import sys

from aws_signing_proxy.cli import main

if __name__ == "__main__":
    sys.exit(main(program="python -m aws_signing_proxy"))
