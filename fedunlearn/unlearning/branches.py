"""The branches that forget nothing of what was asked: without them, no figure of an attack means anything.

All run the scenario's `unlearning.rounds` extra rounds. A method that takes more of them (FedEraser replays its
history, retraining starts over) is still compared with these.

`absent` is the harder control: a class leaves the training rounds without anybody having asked for that, as it happens
where few clients are sampled and data are not spread evenly. The clients that hold the class stay away to the end of
the branch. Where every client holds it, no such rounds exist, and the branch is left out with that reason.
"""

from fedunlearn.federation import Federation, Weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.finetune import FineTune


@UNLEARNERS.register("control")
class Control(Unlearner):
    """The same extra rounds on all data, as if nobody had asked for anything."""

    takes_part = "everyone"
    honours = "nothing"

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after `rounds` ordinary rounds on all data."""
        return history.training.run(federation, weights, self.rounds, view="all")


@UNLEARNERS.register("placebo")
class Placebo(FineTune):
    """Fine-tuning after a request of the same size whose samples are spread over all classes."""

    takes_part = "everyone"
    honours = "placebo"


@UNLEARNERS.register("absent")
class Absent(FineTune):
    """Fine-tuning without the clients that hold the requested classes, as if no round had sampled them; no request."""

    takes_part = "retained"
    honours = "absence"
