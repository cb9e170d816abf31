"""What an import would do, and the values that it is made of. Pure, but for the file that a plan is kept in."""
