"""ppuhdfour: UHDFour on PaddlePaddle. Nothing is here yet; see README, Status."""
