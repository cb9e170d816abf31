"""An account over the network: requests (through the SDK), retries, records, and file contents."""
