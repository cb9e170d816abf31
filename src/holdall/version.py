"""The version of this program. A module of its own, so that whoever needs the number opens nothing else."""

__version__ = "0.1.0"
