"""The destination against the bundle."""
