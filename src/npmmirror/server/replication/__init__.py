"""The feed for other mirrors, `/-/replicate/registry/`: npm's own, with our ordinals as seqs.

`question` reads a query into a value and is pure, `part` answers, `news` has `feed=longpoll` wait.
The rows are made in `npmmirror.index.replication`.
"""
