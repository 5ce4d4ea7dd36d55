"""Which versions of a document are shown, and where its dist-tags point. Pure."""

from npmmirror.packument import Packument
from npmmirror.server.packuments import Shown
from npmmirror.server.stand import Stand


def held_only(document: Packument, stand: Stand) -> Shown:
    """The versions whose tarballs are held; a dist-tag that names another one is left out."""
    versions = tuple(version for version in document.versions if version in stand.held)
    there = frozenset(versions)
    tags = {tag: version for tag, version in document.tags.items() if version in there}
    return Shown(versions, tags)
