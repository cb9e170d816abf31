"""What a destination can hold: a record of the bundle in, a request out, and a typed list of what is lost. Pure."""
