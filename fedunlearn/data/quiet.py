"""Hugging Face's `datasets` without its progress bars, log lines and warnings, and without its download counter."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Silence `datasets` in this block; afterwards everything is as it was."""
    import datasets  # heavy: 0.6 s

    bars, verbosity = not datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    hub_log = logging.getLogger("huggingface_hub")
    hub_level, counting = hub_log.level, datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    hub_log.setLevel(logging.ERROR)
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # reading a local folder must not call home
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = counting
        hub_log.setLevel(hub_level)
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()
