"""A run and what is written down of it: its folder, the journal, and what can be read out of them."""
