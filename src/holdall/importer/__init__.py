"""Imports a bundle into an account: plan, journal, execution and verification."""
