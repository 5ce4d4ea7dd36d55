"""The durable buffer between the follower and the rest."""
