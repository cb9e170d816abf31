"""What a run did, taken back by its journal."""
