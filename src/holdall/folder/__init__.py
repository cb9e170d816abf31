"""The folder form of a bundle, for git and for backup programs: one plain file for each record and content."""
