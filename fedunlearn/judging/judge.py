"""The judge: holds a finding against the truth."""

from dataclasses import replace

from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.image_metrics import NAMES as IMAGE_NAMES
from fedunlearn.judging.metric import NAN, Metric, as_json
from fedunlearn.judging.score_class_images import NAMES as CLASS_IMAGE_NAMES
from fedunlearn.judging.score_class_images import score_class_images
from fedunlearn.judging.score_classes import CONTROL_NAMES, score_classes
from fedunlearn.judging.score_classes import NAMES as CLASS_NAMES
from fedunlearn.judging.score_images import score_forgotten_images, score_images
from fedunlearn.judging.score_labels import NAMES as LABEL_NAMES
from fedunlearn.judging.score_labels import score_labels
from fedunlearn.judging.score_membership import NAMES as MEMBERSHIP_NAMES
from fedunlearn.judging.score_membership import score_membership
from fedunlearn.judging.score_revival import NAMES as REVIVAL_NAMES
from fedunlearn.judging.score_revival import score_revival
from fedunlearn.observer.findings import (
    ClassImages,
    Finding,
    ForgottenClasses,
    ForgottenImages,
    LabelCounts,
    Reconstructions,
    RevivedModel,
)

METRIC_NAMES: dict[str, tuple[str, ...]] = {
    "labels": LABEL_NAMES,
    "images": IMAGE_NAMES,
    "forgotten-classes": CLASS_NAMES,
    "membership": MEMBERSHIP_NAMES,
    "forgotten-images": IMAGE_NAMES,
    "revival": REVIVAL_NAMES,
    "class-images": CLASS_IMAGE_NAMES,
}


def judge_finding(finding: Finding, case: Case) -> Verdict:
    """Return every metric of a finding, what a report shows beside them, and the arrays for pictures.

    Raises:
        DataError: when the answer key holds no truth for what the finding is about.
    """
    if isinstance(finding, LabelCounts | Reconstructions) and not finding.targets:
        return judge_failure("labels" if isinstance(finding, LabelCounts) else "images")
    if isinstance(finding, ForgottenImages) and not len(finding.images):
        return judge_failure("forgotten-images")
    if isinstance(finding, ClassImages) and not len(finding.images):
        return judge_failure("class-images")
    if isinstance(finding, LabelCounts):
        verdict = score_labels(finding, case)
    elif isinstance(finding, Reconstructions):
        verdict = score_images(finding, case)
    elif isinstance(finding, ForgottenImages):
        verdict = score_forgotten_images(finding, case)
    elif isinstance(finding, ForgottenClasses):
        verdict = score_classes(finding, case)
    elif isinstance(finding, ClassImages):
        verdict = score_class_images(finding, case)
    elif isinstance(finding, RevivedModel):
        verdict = score_revival(finding, case)
    else:
        verdict = score_membership(finding, case)
    return replace(verdict, details=verdict.details | {"notes": as_json(finding.notes)})


def judge_failure(finds: str, *, control: bool = False) -> Verdict:
    """Return the verdict on an attack that gave no finding: every metric NaN."""
    names = CONTROL_NAMES if control and finds == "forgotten-classes" else METRIC_NAMES[finds]
    return Verdict({name: Metric(NAN, 0) for name in names})
