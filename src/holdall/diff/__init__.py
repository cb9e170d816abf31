"""Compares two states of a project, each read from a bundle or from a live project."""
