"""What the server must have kept of training, as the configured methods say it."""

import pytest

from fedunlearn.unlearning import UNLEARNERS


def made(name, **options):
    method = UNLEARNERS[name]
    return method(method.Settings.model_validate(options, by_alias=True, by_name=False), 4)


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("federaser", {}, [0, 1, 2, 3, 4, 5, 6]),
        ("federaser", {"interval": 3}, [0, 3, 6]),
        ("amnesiac", {}, [0, 1, 2, 3, 4, 5, 6]),
        ("amnesiac", {"last-rounds": 2}, [5, 6]),
        ("amnesiac", {"last-rounds": 20}, [0, 1, 2, 3, 4, 5, 6]),
        ("amnesiac", {"mode": "relabel"}, []),
        ("pga", {}, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_only_what_is_read_again_must_be_kept(name, options, kept):
    assert list(made(name, **options).stored_rounds(7)) == kept


def test_shards_are_models_of_their_own():
    assert made("sharded", shards=3).own_models == 3
    assert all(made(name).own_models == 0 for name in UNLEARNERS if name != "sharded")
