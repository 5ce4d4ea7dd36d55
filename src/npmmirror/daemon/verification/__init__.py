"""`npmmirror verify`: the archive held against what the index and upstream say of it."""
