"""Static credentials: `awstoken` is the source, of `environment` and `shared_files`."""
