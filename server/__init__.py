"""The server side of the federation: Flower's apps and engines around `fedunlearn.experiment`."""
