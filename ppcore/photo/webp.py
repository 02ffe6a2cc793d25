"""WebP: ICC profile, EXIF and XMP are kept; what was lossless stays so."""

from ppcore.photo.exif import exif_of_size, exif_without_thumbnail
from ppcore.photo.photograph import Format, Photograph
from ppcore.photo.pillow_images import opened, photograph_of, saved


def read(data: bytes, name: str) -> Photograph:
    """A WebP file; the metadata is (lossless, what Pillow's writer takes)."""
    with opened(data, name) as image:
        image.load()
        kept = {key: image.info.get(key) for key in ("icc_profile", "exif", "xmp")}
        kept = {key: value for key, value in kept.items() if value}
        if "exif" in kept:
            kept["exif"] = exif_without_thumbnail(kept["exif"])
        return photograph_of(image, "WEBP", name, (b"VP8L" in data[12:4096], kept), [])


def encode(photo: Photograph, quality: int) -> bytes:
    """A WebP file, of this quality unless the original was lossless."""
    lossless, metadata = photo.metadata
    # `exact`: without it the colours of transparent pixels are thrown away.
    return saved(photo.samples(), "WEBP", quality=quality, lossless=lossless, exact=True, **metadata)


def resized(metadata: tuple[bool, dict[str, bytes]], height: int, width: int) -> tuple[bool, dict[str, bytes]]:
    """The metadata of `read` for another size: its EXIF says it."""
    lossless, kept = metadata
    return lossless, kept | ({"exif": exif_of_size(kept["exif"], height, width)} if "exif" in kept else {})


WEBP = Format("WEBP", (".webp",), read, encode, longest=16_383, resized=resized)
