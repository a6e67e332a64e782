"""Heads that are trained on a network's maps: pyramids and Faster R-CNN, from torchvision's parts."""
