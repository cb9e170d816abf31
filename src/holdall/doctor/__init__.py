"""Two accounts looked at by reads alone: what they have, what they hold, and what there is to look at."""
