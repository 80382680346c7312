"""A client at work on random pictures, and a branch of a small trained federation: what methods are tried on."""

from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from fedunlearn.learning import LocalClient
from fedunlearn.models import Classifier, to_weights
from tests.learning.workshop import CLASSES as PICTURE_CLASSES
from tests.learning.workshop import Workshop


class BatchNormNet(Classifier):
    """One convolution with batch normalisation."""

    default_width = 3

    def make_body(self, shape, activation, width, norm):
        return nn.Sequential(nn.Conv2d(shape[0], width, 3), nn.BatchNorm2d(width), activation(), nn.Flatten())


def batch_norm_net():
    """Return a new one for the pictures of `local_client`."""
    net = BatchNormNet((1, 8, 8), PICTURE_CLASSES, "relu", None, "batch")
    net.set_pixel_stats(0.5, 0.25)
    net.initialise(np.random.default_rng(0))
    return net


def net_of(**model):
    """Return a model by name for the pictures of `local_client`."""
    return Workshop([1], model).blank()


def local_client(net=None, samples=20, forget=(), attachments=None, client=0, total=None):
    """Return client `client` with `samples` random pictures, the positions `forget` of which it is to forget."""
    net = net_of(name="mlp", width=12) if net is None else net
    shop, ids = Workshop([total or samples], {"name": "mlp"}), np.arange(client * samples, (client + 1) * samples)
    asked = ids[list(forget)] if len(forget) else None
    return LocalClient(
        client,
        7,
        shop.seed,
        net.train(),
        to_weights(net),
        ids,
        shop.samples,
        asked=asked,
        attachments=attachments or {},
    )


def carried(kind, **settings):
    """Return a task's settings with the method's own."""
    return {"method": kind(**settings).model_dump(mode="json", by_alias=True)}


def branch(small, request):
    """Return a branch of a `SmallFederation` after its training, the request open on it."""
    federation = small.federation()
    federation.calls = small.rounds
    federation = federation.fork("branch")
    federation.open_request(request.samples)
    return federation


def ids_of(small, request):
    """Return the sample ids (forgotten, retained)."""
    forgotten = np.sort(np.concatenate(list(request.samples.values())))
    return forgotten, np.setdiff1d(np.concatenate(small.held), forgotten)


class LossCall(NamedTuple):
    """What a model's loss was asked: which positions of the client's view, under which labels, in which mode."""

    positions: list[int]
    labels: Tensor
    training: bool


def watch_losses(client):
    """Return the list to which every later call of the client's model's loss is added."""
    calls, plain = [], client.model.loss
    known = {image.numpy().tobytes(): position for position, image in enumerate(client.images)}

    def loss(images, labels):
        positions = [known[image.numpy().tobytes()] for image in images]
        calls.append(LossCall(positions, labels, client.model.training))
        return plain(images, labels)

    client.model.loss = loss
    return calls
