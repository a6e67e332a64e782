"""How the backbones of sslbench/zoo were pretrained; needs the `lightly` package of the dev group."""
