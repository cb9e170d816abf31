"""A plan carried out: every write once, looked for where its answer was lost."""
