"""Rewrites old ids to new ones in the user's code, environment and config files."""
