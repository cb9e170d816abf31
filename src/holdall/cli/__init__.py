"""The command line: one thin file for each command. Only this room imports click and tqdm."""
