"""AWS STS: `service` asks it; `irsa` and `role_chain` are sources of credentials that stand on it."""
