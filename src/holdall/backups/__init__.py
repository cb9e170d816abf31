"""What is done with many bundles: back up into a folder, list, search and prune it."""
