"""HTTP to the servers that credentials come from: one deadline for an exchange, its failures in words."""
