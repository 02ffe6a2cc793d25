"""Image transforms, `transform(image, rng) -> image` (see `transform.Transform`); `ppcore.data` names the public ones."""
