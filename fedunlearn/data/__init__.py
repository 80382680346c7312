"""The data of a run: sources, the array cache, splits and partitions. Importing this needs numpy alone."""

from fedunlearn.data.cache import cache_root, prepare
from fedunlearn.data.dataset import Dataset, open_dataset
from fedunlearn.data.local_copies import local_copy, local_data
from fedunlearn.data.partition_store import Partition, open_partition, save_partition
from fedunlearn.data.partitions import PARTITIONS, partition
from fedunlearn.data.poison import Poison, poisoned, triggered
from fedunlearn.data.sources import DATASETS
from fedunlearn.data.splits import Splits, split

__all__ = [
    "DATASETS",
    "PARTITIONS",
    "Dataset",
    "Partition",
    "Poison",
    "Splits",
    "cache_root",
    "local_copy",
    "local_data",
    "open_dataset",
    "open_partition",
    "partition",
    "poisoned",
    "prepare",
    "save_partition",
    "split",
    "triggered",
]
