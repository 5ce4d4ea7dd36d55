"""The way of a change: follow, feed, fetch, record."""
