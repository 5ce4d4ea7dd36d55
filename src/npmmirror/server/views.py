"""The parts of the two views beside the registry of now: byte for byte, and any day of the past."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from npmmirror.server.asked import Asked, Route, ViewKind
from npmmirror.server.claims import Claims
from npmmirror.server.past import MomentPart, Moments, PastPart, PastStock
from npmmirror.server.raw import (
    RawDocumentPart,
    RawManifestPart,
    RawRevisionPart,
    RawRevisionsPart,
    RawTarballPart,
    everything,
)
from npmmirror.server.registry import DistTagsPart, ManifestPart, PackumentPart, Visible
from npmmirror.server.resources import Part, Resources
from npmmirror.server.signed import AttestationsPart, KeysPart, now, then
from npmmirror.server.stand import HeldTarball, Stand
from npmmirror.server.tarballs import TarballPart

Parts = dict[tuple[ViewKind, Route], Part]

_PAST: Final = ViewKind.PAST
_RAW: Final = ViewKind.RAW


def past_parts(resources: Resources, visible: Visible, shared: Mapping[Route, Part]) -> Parts:
    """`/-/at/<time or seq:N>/`; `visible` says what is shown of a document, as of now.

    `shared` are the parts of all views: what they answer is of now, where the moment is one at all.
    """
    moments = Moments(resources.stock)
    past = PastStock(resources.stock, moments, Claims(resources.stock, resources.threads))
    parts: dict[Route, Part] = {
        **shared,
        Route.PACKUMENT: PackumentPart(resources, past.stand, visible),
        Route.MANIFEST: ManifestPart(resources, past.stand, visible),
        Route.DIST_TAGS: DistTagsPart(resources, past.stand, visible),
        Route.TARBALL: TarballPart(resources, past.tarball),
        Route.KEYS: KeysPart(resources, then(moments)),
        Route.ATTESTATIONS: AttestationsPart(resources, then(moments)),
    }
    worded = {(_PAST, route): PastPart(part, past, moments) for route, part in parts.items()}
    return {**worded, (_PAST, Route.MOMENT): MomentPart(moments)}


def raw_parts(resources: Resources) -> Parts:
    """`/-/raw/`."""
    stand, tarball = partial(_stand, resources), partial(_tarball, resources)
    return {
        (_RAW, Route.PACKUMENT): RawDocumentPart(resources),
        (_RAW, Route.MANIFEST): RawManifestPart(resources, stand, everything),
        (_RAW, Route.DIST_TAGS): DistTagsPart(resources, stand, everything),
        (_RAW, Route.TARBALL): RawTarballPart(resources, tarball),
        (_RAW, Route.KEYS): KeysPart(resources, now),
        (_RAW, Route.ATTESTATIONS): AttestationsPart(resources, now),
        (_RAW, Route.REVISION): RawRevisionPart(resources),
        (_RAW, Route.REVISIONS): RawRevisionsPart(resources),
    }


async def _stand(resources: Resources, asked: Asked) -> Stand | None:
    return await resources.stock.stand(asked.name)


async def _tarball(resources: Resources, asked: Asked) -> HeldTarball | None:
    return await resources.stock.tarball(asked.name, asked.rest, gone=True)
