"""What the sandbox serves: its endpoints and their state. Knows nothing of the bad days that are put around it."""
