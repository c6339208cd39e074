"""Credentials of Vault's AWS secrets engine: `provider` is the source, the others are its parts."""
