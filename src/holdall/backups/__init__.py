"""What is done with many bundles: list them, and what builds upon that."""
