"""What stands at a destination already, and the plan that follows from it. Reads only."""
