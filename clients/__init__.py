"""The client side of the federation: a thin Flower app around `fedunlearn.learning`."""
