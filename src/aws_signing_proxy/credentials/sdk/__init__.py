"""The AWS SDK's own chain, by botocore: `provider` is the source, the others are its parts."""
