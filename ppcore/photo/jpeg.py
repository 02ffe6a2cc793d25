"""JPEG, and MPO, which is a JPEG with further pictures behind it. EXIF, XMP, profile, IPTC and comments are copied."""

from typing import Any

from ppcore.photo.exif import PREFIX, exif_of_size, exif_without_thumbnail
from ppcore.photo.photograph import Format, Photograph
from ppcore.photo.pillow_images import opened, photograph_of, saved

_ICC = b"ICC_PROFILE\x00"


def read(data: bytes, name: str) -> Photograph:
    """A JPEG or MPO file; the metadata is (segments, (horizontal, vertical) dots per inch or None)."""
    with opened(data, name) as image:
        notes = [f"pictures behind the first left out: {image.n_frames - 1}"] if image.format == "MPO" else []
        image.load()
        metadata = jpeg_metadata(data, profile=image.mode != "CMYK"), image.info.get("dpi")
        return photograph_of(image, "JPEG", name, metadata, notes)


def encode(photo: Photograph, quality: int) -> bytes:
    """A JPEG file; its chroma is not subsampled."""
    segments, dpi = photo.metadata
    options = {"dpi": dpi} if dpi else {}
    data = saved(photo.samples(), "JPEG", quality=quality, subsampling=0, **options)
    position = 2
    if data[2:4] == b"\xff\xe0":  # after the JFIF header
        position += 2 + int.from_bytes(data[4:6], "big")
    return data[:position] + segments + data[position:]


def jpeg_metadata(data: bytes, *, profile: bool = True) -> bytes:
    """The segments of a JPEG file that hold EXIF, XMP, the ICC profile, IPTC and comments.

    Args:
        data: the file.
        profile: whether the ICC profile is wanted (it does not survive a change of colour space).
    """
    kept, position = [], 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA or end > len(data):  # the scan begins
            break
        segment = data[position:end]
        content = segment[4:]
        if marker == 0xE1 and content.startswith(PREFIX):
            kept.append(segment[:4] + exif_without_thumbnail(content))
        elif marker in (0xE1, 0xED, 0xFE) or (marker == 0xE2 and profile and content.startswith(_ICC)):
            kept.append(segment)
        position = end
    return b"".join(kept)


def resized(metadata: tuple[bytes, Any], height: int, width: int) -> tuple[bytes, Any]:
    """The metadata of `read` for another size: its EXIF says it."""
    segments, dpi = metadata
    kept, position = [], 0
    while position < len(segments):
        end = position + 2 + int.from_bytes(segments[position + 2 : position + 4], "big")
        head, content = segments[position : position + 4], segments[position + 4 : end]
        kept.append(head + (exif_of_size(content, height, width) if content.startswith(PREFIX) else content))
        position = end
    return b"".join(kept), dpi


JPEG = Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), read, encode, longest=65_500, resized=resized)
