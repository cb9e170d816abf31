"""The command line: one thin file a command. Results on stdout, all else on stderr; click and tqdm live only here."""
