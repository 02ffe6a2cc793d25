"""ppdeit: DeiT and DeiT III on PaddlePaddle. Nothing is here yet; see README, Status."""
