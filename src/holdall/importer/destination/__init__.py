"""What exists at a destination already. Reads only."""
