"""The registry that clients read: what is stored, as npm would serve it.

A request goes through `app`: the guard (`guard`), its address and path read into a value (`addresses`,
`asked`), the part that the table has for it (`app.table`), the answer. A part is a class with one
method, `answer(request, asked)`. A new route is a word in `asked` and a line in the table.

What a part works with is in `resources`: the stock (`stock`: packages as index and archive have them,
each a `Stand`), the cache of ready answers (`ready`), threads. What an answer is made of is pure:
`packuments` (documents for clients), `visibility` (which versions are shown), `negotiation`,
`ranges`.

Three views have the same routes: as it is now (`/…`), byte for byte as captured (`/-/raw/…`), and
as it stood once (`/-/at/<moment>/…`). `Asked.view` says which, with its base URL and the moment. The
parts of `registry` and `tarballs` serve any view: they are given how a package stands in it
(`Standing`), what of a document is shown (`Visible`), and which tarball a file name means (`Finding`).

A ready answer is good until its package changes, by whatever process (`changes`). So processes that
serve one mirror need not know of each other.
"""
