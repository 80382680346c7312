"""Where samples come from: built-in sets by name, folders by format, and everything else from the Hugging Face hub."""

from pathlib import Path

from fedunlearn.data.settings import DataSettings
from fedunlearn.data.sources import builtin, cifar, idx, image_folder, npz
from fedunlearn.data.sources.hugging_face import read_hub
from fedunlearn.data.sources.source import DATASETS, FORMATS, Part, Source
from fedunlearn.errors import DataError
from fedunlearn.registry import nearest


def read(settings: DataSettings, scratch: Path) -> Source:
    """Return the source that the settings name; its images may be read only while `scratch` exists.

    A Hugging Face name has an owner ("ylecun/mnist"), so a misspelt built-in name never goes to the network.

    Raises:
        DataError: when it cannot be read, or no built-in set has that name.
        ScenarioError: when there is no such format.
    """
    if settings.path is not None:
        return FORMATS[settings.format or ""](Path(settings.path).expanduser(), settings, scratch)
    if "/" in settings.name:
        return read_hub(settings)
    if settings.name not in DATASETS:
        hint = f"{nearest(settings.name, DATASETS)} (a Hugging Face name has an owner, as in ylecun/mnist)"
        raise DataError(f'data.name = "{settings.name}": no built-in data set{hint}')
    return DATASETS[settings.name]()


__all__ = ["DATASETS", "FORMATS", "Part", "Source", "builtin", "cifar", "idx", "image_folder", "npz", "read"]
