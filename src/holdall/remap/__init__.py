"""Old ids into new ones in somebody's own code, environment and config files."""
