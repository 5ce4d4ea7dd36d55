"""npmmirror: a faithful, verified mirror of an npm registry, with its whole history."""

__version__ = "0.1.0"
