"""From a bundle into an account: the plan, the journal of what was done, the work itself, and the proof of it."""
