"""An account over the network: the SDK's only user, what to retry, an account's graph, one file's content."""
