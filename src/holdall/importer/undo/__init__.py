"""Undoes a run, by its journal."""
