"""What stands at a destination already. Reads only."""
