"""The package.json of a tarball, as npm would unpack it."""

import gzip
import io
import random
import tarfile
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror import tarred
from npmmirror.tarred import Tarred

BODY = b'{"name":"a"}'
Entries = list[tuple[str, bytes] | tarfile.TarInfo]


def archive(entries: Entries, layout: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of files, or of headers without bodies."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                head = tarfile.TarInfo(entry[0])
                head.size = len(entry[1])
                tar.addfile(head, io.BytesIO(entry[1]))
    return out.getvalue()


def found(data: bytes, cuts: tuple[int, ...] = ()) -> bytes | str | None:
    """What comes of a tarball that arrives in pieces: the file, or why there is none."""
    reader, start = Tarred(), 0
    for cut in (*sorted(cuts), len(data)):
        reader.update(data[start:cut])
        start = max(start, cut)
    reader.end()
    return reader.content if reader.content is not None else reader.problem


def link(path: str, kind: bytes) -> tarfile.TarInfo:
    """A link of that name."""
    head = tarfile.TarInfo(path)
    head.type, head.linkname = kind, "elsewhere"
    return head


@pytest.mark.parametrize(
    "path",
    [
        "package/package.json",
        "any-name/package.json",
        "./package.json",
        "package//package.json",
        "package/./package.json",
        "package/" + "./" * 80 + "package.json",
    ],
)
@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_it_is_found_where_npm_unpacks_it(path: str, layout: int) -> None:
    """The first directory may have any name, which long header it ever stands in."""
    data = archive([("package/index.js", b"x" * 700), (path, BODY)], layout)
    assert found(gzip.compress(data)) == BODY


@pytest.mark.parametrize(
    "path",
    [
        "package.json",
        "package/Package.json",
        "package/lib/package.json",
        "package/../package.json",
        "package/package.json/x",
        "package/xpackage.json",
    ],
)
def test_another_file_is_not_taken_for_it(path: str) -> None:
    """Nor one of that name in a directory below, nor in another case."""
    assert found(gzip.compress(archive([(path, BODY)]))) == "no_package_json"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_a_link_of_that_name_is_passed_over(kind: bytes) -> None:
    """As npm leaves links out; what comes behind it counts."""
    data = archive([link("package/package.json", kind), ("package/package.json", BODY)])
    assert found(gzip.compress(data)) == BODY


def test_the_first_of_two_is_taken() -> None:
    """The second is never looked for."""
    data = archive([("package/package.json", BODY), ("package/package.json", b"{}")])
    assert found(gzip.compress(data)) == BODY


def test_a_plain_tar_is_read() -> None:
    """As npm takes one that was never compressed."""
    assert found(archive([("package/package.json", BODY)])) == BODY


def test_a_second_gzip_member_goes_on_with_the_archive() -> None:
    """As gunzip takes them."""
    data = archive([("package/index.js", b"x" * 3000), ("package/package.json", BODY)])
    assert found(gzip.compress(data[:1000]) + gzip.compress(data[1000:])) == BODY


def test_a_directory_with_a_size_has_no_body() -> None:
    """Some programs write the size that it has on disk."""
    head = tarfile.TarInfo("package/lib/")
    head.type, head.size = tarfile.DIRTYPE, 4096
    data = head.tobuf() + archive([("package/package.json", BODY)])
    assert found(gzip.compress(data)) == BODY


def test_a_size_of_a_pax_header_counts() -> None:
    """Before the one in the header of old."""
    head = tarfile.TarInfo("package/index.js")
    head.pax_headers = {"size": "1024"}
    data = head.tobuf(tarfile.PAX_FORMAT) + bytes(1024) + archive([("package/package.json", BODY)])
    assert found(gzip.compress(data)) == BODY


def test_a_block_that_is_no_header_is_passed_over() -> None:
    """node-tar tries the next one."""
    data = b"\1" * 512 + archive([("package/package.json", BODY)])
    assert found(gzip.compress(data)) == BODY


def test_a_number_in_base_256_is_read() -> None:
    """GNU tar writes large sizes so."""
    head = bytearray(tarfile.TarInfo("package/package.json").tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"\x80" + len(BODY).to_bytes(11, "big")
    head[148:156] = b"        "
    head[148:156] = b"%06o\0 " % sum(head)
    assert found(bytes(head) + BODY.ljust(512, b"\0")) == BODY


def test_an_empty_file_is_found() -> None:
    """It is there, whatever it is worth."""
    assert found(gzip.compress(archive([("package/package.json", b"")]))) == b""


def bomb() -> bytes:
    """A gzip stream of 300 MB of one file."""
    packer, head = zlib.compressobj(1, zlib.DEFLATED, 31), tarfile.TarInfo("package/zeros")
    head.size = 300 << 20
    pieces = [packer.compress(head.tobuf())]
    pieces += [packer.compress(bytes(1 << 20)) for _ in range(300)]
    return b"".join([*pieces, packer.flush()])


def oversized() -> bytes:
    """A package.json that is too large to be looked at."""
    return gzip.compress(archive([("package/package.json", bytes(tarred.MOST_BYTES + 1))]))


def many() -> bytes:
    """More entries than are looked through."""
    entry = tarfile.TarInfo("package/x").tobuf()
    return gzip.compress(entry * tarred.MOST_ENTRIES + archive([("a/package.json", BODY)]), 1)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: b"", "not_an_archive"),
        (lambda: b"\x1f", "not_an_archive"),
        (lambda: b"<html>not here</html>" * 100, "not_an_archive"),
        (lambda: gzip.compress(b"not a tar" * 500), "not_an_archive"),
        (lambda: gzip.compress(b""), "not_an_archive"),
        (lambda: gzip.compress(archive([])), "not_an_archive"),
        (lambda: gzip.compress(archive([("package/index.js", b"x")])), "no_package_json"),
        (lambda: archive([("package/index.js", b"x")])[:600], "no_package_json"),
        (lambda: gzip.compress(b"")[:10] + b"\x07" + bytes(50), "damaged"),
        (oversized, "too_large"),
        (bomb, "too_far"),
        (many, "too_far"),
    ],
)
def test_what_has_none_says_why(make: Callable[[], bytes], word: str) -> None:
    """In a stable word, and nothing is raised."""
    assert found(make()) == word


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Archives with a package.json at some place, in some layout."""
    names = draw(st.lists(st.text("ab/.é", min_size=1, max_size=150), max_size=6))
    entries: Entries = [(f"package/{name}x", draw(st.binary(max_size=1500))) for name in names]
    entries.insert(draw(st.integers(0, len(entries))), ("package/package.json", BODY))
    return archive(entries, draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])))


@given(archives(), st.booleans(), st.lists(st.integers(0, 4000), max_size=8))
@settings(max_examples=60)
def test_it_is_found_however_the_bytes_arrive(
    data: bytes, compressed: bool, cuts: list[int]
) -> None:
    """In whatever pieces, whatever lies around it."""
    assert found(gzip.compress(data) if compressed else data, tuple(cuts)) == BODY


def damaged() -> Iterator[bytes]:
    """An archive with a few bytes altered, in ways that chance chose once."""
    dice = random.Random(7)
    files: Entries = [("package/" + "d/" * 70 + "x", b"x" * 600), ("package/package.json", BODY)]
    for layout in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        good = archive(files, layout)
        for _ in range(150):
            data = bytearray(good)
            for _ in range(dice.randrange(1, 6)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            yield bytes(data)


def test_damage_ends_in_a_word() -> None:
    """Whatever the headers say."""
    for data in damaged():
        for tarball in (data, gzip.compress(data, 1)):
            assert isinstance(found(tarball), bytes | str)
