"""The registry that clients read: what is stored, as npm would serve it."""
