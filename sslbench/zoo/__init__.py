"""Weights and cards of the small backbones that come with the package; `sslbench.backbones.zoo` reads them."""
