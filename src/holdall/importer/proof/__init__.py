"""Compares the destination with the bundle."""
