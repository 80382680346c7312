"""GradInversion: See through Gradients."""

from typing import ClassVar

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings, preset


@ATTACKS.register("grad-inversion")
class GradInversion(GradientInversion):
    """Images by noisy Adam on the gradients of all layers, the layers' statistics, and eight seeds that should agree.

    The statistics are the broadcast's running ones, or, for observers with the flag "batch-norm-statistics", those of
    the very batch, solved from the update's buffers; the model then normalises by the batch, as the client's did.
    Without such layers the term is left out, which the notes say.

    Source: Yin, Mallya, Vahdat, Alvarez, Kautz, Molchanov, See through Gradients, CVPR 2021. Deviations: distances are
    relative to the observed norms and regularisers are means, so that weights are per pixel, channel and layer; labels
    from our own attacks, not by its rule for distinct labels; the seeds' consensus is their pixel mean from the first
    step on, without registration; the answer is the seed of the lowest loss; candidates are kept in the box.
    """

    Settings: ClassVar[type[InversionSettings]] = preset(
        "grad-inversion",
        labels="auto",
        objective="layer-norms",
        total_variation=1e-4,
        l2=1e-6,
        batch_norm=0.1,
        consistency=0.01,
        optimiser="adam",
        warm_up=50,
        noise=0.2,
        steps=20000,
        restarts=8,
        start="normal",
        space="normalised",
    )
