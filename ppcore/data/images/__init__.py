"""Finding, decoding and reading parts of image files."""
