"""Translates a bundle's records into a destination's requests, with a typed list of what is lost. Pure."""
