"""Examines one or two accounts by reads alone: what they offer, what they hold, and what needs attention."""
