"""What makes the long scenarios short enough for a test: the same code paths, fewer seeds, clients and steps."""

from pathlib import Path

DIGITS = '{name="digits",data={name="digits",train=400,test=500,public=300}}'
FEW_STEPS = ("attacks.0.settings.steps=6", "attacks.0.settings.label-tries=1")
FEW_ROUNDS = ("federation.rounds=3", "federation.clients=4", "federation.local-epochs=1", "unlearning.rounds=2")
DEFENDED = '[{name="twin-row"}, {name="teleport-rows"}, {name="decoy-class"}, {name="answer-top1"}]'
FEW_SHADOWS = tuple(f"attacks.{number}.settings.shadows=2" for number in (1, 2, 4, 5, 6, 7, 10, 14))
FEW_TRIES = (
    *(f"attacks.{number}.settings.steps=10" for number in (10, 11, 12, 13, 19)),
    *(f"attacks.{number}.settings.queries=2000" for number in (14, 15, 16)),
)
LEAKAGE = ("matrix.seed=[0]", 'matrix.data=[{name="digits"}]', "data.train=200", "data.test=100", "data.public=200")
ONE_CLIENT = tuple(f"probes.{number}.clients=[0]" for number in range(4))
QUICK_PICTURES = (
    *(f"attacks.{number}.settings.steps=3" for number in range(8)),
    *(f"attacks.{number}.settings.prior-steps=8" for number in range(2, 9)),
    *(f"attacks.{number}.settings.images-per-class=2" for number in range(9)),
    "attacks.4.settings.student-steps=3",
    "attacks.8.settings.queries=70",
    'unlearning.methods=["finetune"]',
    'unlearning.references=["control"]',
    "unlearning.options={}",
)

REDUCED = {
    "quickstart_seeds": ("matrix.seed=[0]",),  # forty take ten minutes; test_quickstart_promises.py runs eight
    "label_restoration": ("matrix.seed=[0]", f"matrix.runs=[{DIGITS}]", "federation.engine=inline"),
    "image_leakage": ("federation.clients=2", *ONE_CLIENT, *FEW_STEPS),
    "imagenet_leakage": ("attacks.0.settings.steps=4", "attacks.1.settings.steps=4"),
    "study_wrong_label": (
        "federation.clients=1",
        *FEW_STEPS,
        "attacks.1.settings.steps=6",
        "attacks.2.settings.steps=6",
    ),
    "study_equal_labels": ("federation.clients=1", *FEW_STEPS),
    "study_batch_size": ("federation.clients=1", *FEW_STEPS),
    "study_fedavg": ("federation.clients=1", *FEW_STEPS, "attacks.1.settings.steps=6"),
    "study_trained": ("federation.clients=2", "data.train=400", *FEW_STEPS, "attacks.1.settings.steps=6"),
    "study_forgotten_images": (
        "matrix.seed=[0]",
        "attacks.0.settings.settings.steps=6",
        "attacks.1.settings.settings.steps=6",
    ),
    "study_rank": ("federation.clients=1", *FEW_STEPS),
    "defences_forgotten_class": ("matrix.seed=[0]", f"matrix.defences=[[], {DEFENDED}]", "data.train=400", *FEW_ROUNDS),
    "label_leakage": (*LEAKAGE, *FEW_ROUNDS, *FEW_SHADOWS, *FEW_TRIES),
    "label_leakage_digits": (
        "matrix.seed=[0]",
        "federation.rounds=3",
        "attacks.1.settings.shadows=2",
        "attacks.3.settings.shadows=2",
    ),
    "label_leakage_resnet": (*LEAKAGE, "data.validation=50", "model.width=4", *FEW_ROUNDS, *FEW_SHADOWS, *FEW_TRIES),
    "suite_leakage": ("matrix.seed=[0]", "data.train=400", *FEW_ROUNDS),
    "partial_forgetting": ("matrix.seed=[0]", "data.train=500", "data.public=300", *FEW_ROUNDS),
    "detection": ("matrix.seed=[0]", "data.train=500", "data.public=300", "federation.rounds=8", "unlearning.rounds=2"),
    "forgotten_distribution": ("matrix.seed=[0]", "data.train=1200", "data.public=300", *FEW_ROUNDS),
    "unlearning_suite": ("matrix.seed=[0]", "data.train=200", *FEW_ROUNDS),
    "unlearning_suite_fashion": ("matrix.seed=[0]", "data.train=200", "data.test=300", *FEW_ROUNDS),
    "unlearning_suite_samples": ("matrix.seed=[0]", "data.train=1500", "data.test=300", *FEW_ROUNDS),
    "unlearning_suite_cifar": ("matrix.seed=[0]", "data.train=200", "data.test=300", *FEW_ROUNDS),
    "model_inversion": ("matrix.seed=[0]", *FEW_ROUNDS, *QUICK_PICTURES),
    "model_inversion_digits": ("matrix.seed=[0]", 'matrix.runs=[{name="digits"}]', *FEW_ROUNDS, *QUICK_PICTURES),
    "revival": (
        "matrix.seed=[100]",
        'matrix.requests=[[{scope="class",target={classes=[3]}}]]',
        'data.name="digits"',
        "data.train=600",
        "data.test=300",
        "data.public=200",
        "federation.rounds=4",
        *(f'observers.{number}.rounds=["all"]' for number in (3, 4, 5)),
    ),
    "diffusion_revival": (
        "matrix.seed=[0]",
        'matrix.requests=[[{scope="class",target={classes=[3]}}]]',
        "model.width=8",
        "data.train=200",
        "data.test=40",
        "data.judge=300",
        "federation.rounds=1",
        "judge.portraits=2",
        "judge.trained-on=20",
    ),
    "unlearning_distributions": ("matrix.training-seed=[0,1]", "data.train=200", *FEW_ROUNDS),
}


def overrides(command: str) -> list[str]:
    """Return the `--set` options that make a command about one of these scenarios short."""
    files = {Path(word).name for word in command.split()}
    settings = [each for stem, values in REDUCED.items() if f"{stem}.toml" in files for each in values]
    return [word for setting in settings for word in ("--set", setting)]
