"""The RQ-VAE: model, codebooks, the losses of CAT-ID², training."""
