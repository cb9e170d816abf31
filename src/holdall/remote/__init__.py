"""An account over the network: the SDK's only user, what to retry, an account's records, one file's content."""
