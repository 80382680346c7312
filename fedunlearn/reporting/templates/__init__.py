"""The report's templates (Jinja). Python files, because a Flower app bundle carries no HTML."""

from jinja2 import DictLoader

from fedunlearn.reporting.templates import classes, inversion, parts, report, revival, style, suite

LOADER = DictLoader(
    {
        "report.html": report.TEXT,
        "parts.html": parts.TEXT,
        "suite.html": suite.TEXT,
        "classes.html": classes.TEXT,
        "revival.html": revival.TEXT,
        "inversion.html": inversion.TEXT,
        "report.css": style.TEXT,
    }
)
