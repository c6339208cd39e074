"""The command `check`: `report` tells everything, `credentials` fetches some, `host_names` knows AWS's names."""
