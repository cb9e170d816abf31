"""Pages to look at: HTML files that need no network, no script and nothing beside them."""
