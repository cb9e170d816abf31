"""A run's records: its folder, its journal, and what is read from them."""
