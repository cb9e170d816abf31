"""The version of this program, in a module without imports."""

__version__ = "1.0.0"
