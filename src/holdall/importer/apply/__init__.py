"""Carries out a plan: every write once, and reconciled if its answer was lost."""
