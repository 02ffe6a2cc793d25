"""Photographs in and out, a file a format, without losing what their files say; and enhancing them.

A network for classifying looks at 8 bits as stored (`ppcore.data.read_image`). Here bit depth, alpha, EXIF and its
orientation, ICC profile, XMP, density and texts come along and go back into the written file.
"""
