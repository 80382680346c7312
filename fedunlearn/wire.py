"""How orders and outcomes become flat arrays and plain values, for messages between processes and for files.

Updates of equal layout travel stacked, one array per tensor with the clients along the first axis: one message
for many clients costs little more than one message for one.
"""

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedunlearn.federation import Failure, Job, Kind, Order, Outcome, Task, Update, Weights

Plain = dict[str, Any]  # str, int, float or bytes values only


@dataclass(frozen=True)
class Stack:
    """Updates of several clients with the same layout: every array has shape (len(client_ids), ...)."""

    kind: Kind
    client_ids: list[int]
    payload: Weights
    metrics: dict[str, list[float]] = field(default_factory=dict)
    private: Weights | None = None

    def updates(self, num_examples: Mapping[int, int] | None = None) -> list[Update]:
        """Return one `Update` per client; the payloads are views into the stack."""
        sizes = num_examples or {}
        return [
            Update(
                client,
                self.kind,
                {name: array[row] for name, array in self.payload.items()},
                sizes.get(client, 0),
                {name: values[row] for name, values in self.metrics.items()},
                None if self.private is None else {name: array[row] for name, array in self.private.items()},
            )
            for row, client in enumerate(self.client_ids)
        ]


def stack(updates: Iterable[Update]) -> list[Stack]:
    """Group updates by layout (kind, names, shapes, dtypes) and stack each group."""
    groups: dict[Any, list[Update]] = {}
    for update in updates:
        layouts = [_layout(update.payload), _layout(update.private), tuple(update.metrics)]
        groups.setdefault((update.kind, *layouts), []).append(update)
    return [_stack_group(group) for group in groups.values()]


def _layout(arrays: Weights | None) -> Any:
    return None if arrays is None else tuple((name, a.shape, a.dtype.str) for name, a in arrays.items())


def _stack_group(group: list[Update]) -> Stack:
    first = group[0]
    return Stack(
        first.kind,
        [update.client_id for update in group],
        {name: np.stack([update.payload[name] for update in group]) for name in first.payload},
        {name: [update.metrics[name] for update in group] for name in first.metrics},
        None
        if first.private is None
        else {name: np.stack([update.private[name] for update in group]) for name in first.private},  # type: ignore[index]
    )


def to_npy(array: np.ndarray) -> bytes:
    """Return the array as the content of an .npy file, as `numpy.save` writes it but copied only once."""
    head = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(array.dtype)
    np.lib.format.write_array_header_1_0(head, {"descr": descr, "fortran_order": False, "shape": array.shape})
    return b"".join([head.getvalue(), np.ascontiguousarray(array).reshape(-1).view(np.uint8).data])


def from_npy(data: bytes | memoryview) -> np.ndarray:
    """Return the array in the content of an .npy file: a read-only view of it, not a copy."""
    file = io.BytesIO(data[: 1 << 16])  # more than any header
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    flat = np.frombuffer(data, dtype, math.prod(shape), file.tell()) if 0 not in shape else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran_order else "C")


def encode_order(order: Order, clients: Sequence[int]) -> Plain:
    """Return the part of an order that concerns `clients`, without its arrays, as plain values."""
    distinct: dict[tuple[str, str, tuple[int, ...] | None], int] = {}
    jobs = []
    for client in clients:
        job = order.jobs[client]
        key = job.view, json.dumps(dict(job.settings)) if job.settings else "{}", job.samples
        jobs.append([client, distinct.setdefault(key, len(distinct))])
    plain: Plain = {
        "call": order.call,
        "task": json.dumps([order.task.name, dict(order.task.settings), order.task.reply]),
        "jobs": json.dumps(list(distinct)),
        "clients": json.dumps(jobs),
    }
    for name, excluded in (("past", order.past), ("current", order.current)):
        mine = [c for c in clients if c in excluded]
        plain[f"{name}-sizes"] = json.dumps([[c, len(excluded[c])] for c in mine])
        joined = np.concatenate([excluded[c] for c in mine]) if mine else np.empty(0)
        plain[f"{name}-ids"] = joined.astype(np.int64).tobytes()
    return plain


def encode_private(order: Order, clients: Sequence[int]) -> Weights:
    """Return what `clients` kept for themselves, as arrays named `<client>/<tensor>`."""
    return {f"{c}/{name}": array for c in clients for name, array in order.private.get(c, {}).items()}


def decode_order(
    plain: Mapping[str, Any], weights: Weights, private: Mapping[str, np.ndarray], attachments: Weights
) -> Order:
    """Return the order that `encode_order` and `encode_private` wrote, with the arrays that came beside it."""
    name, settings, reply = json.loads(plain["task"])
    distinct = [
        Job(json.loads(settings), view, None if samples is None else tuple(samples))
        for view, settings, samples in json.loads(plain["jobs"])
    ]
    jobs = {client: distinct[number] for client, number in json.loads(plain["clients"])}
    excluded = []
    for part in ("past", "current"):
        sizes = json.loads(plain[f"{part}-sizes"])
        ids = np.frombuffer(plain[f"{part}-ids"], dtype=np.int64)
        cuts = np.cumsum([size for _, size in sizes])[:-1]
        excluded.append({client: piece for (client, _), piece in zip(sizes, np.split(ids, cuts), strict=bool(sizes))})
    kept: dict[int, Weights] = {}
    for key, array in private.items():
        client, _, tensor = key.partition("/")
        kept.setdefault(int(client), {})[tensor] = array
    task = Task(name, settings, reply, attachments)
    return Order(plain["call"], task, weights, jobs, excluded[0], excluded[1], kept)


def encode_outcomes(stacks: Sequence[Stack], failures: Sequence[Failure]) -> tuple[Weights, Plain]:
    """Return arrays named `<stack>/<p|v>/<tensor>` (payload, private) and the plain values that describe them."""
    arrays: Weights = {}
    for number, group in enumerate(stacks):
        arrays |= {f"{number}/p/{name}": array for name, array in group.payload.items()}
        arrays |= {f"{number}/v/{name}": array for name, array in (group.private or {}).items()}
    heads = [[s.kind, s.client_ids, s.metrics, s.private is not None] for s in stacks]
    return arrays, {"stacks": json.dumps(heads), "failures": json.dumps([[f.client_id, f.reason] for f in failures])}


def decode_outcomes(arrays: Mapping[str, np.ndarray], plain: Mapping[str, Any]) -> list[Outcome]:
    """Return the outcomes that `encode_outcomes` wrote; `num_examples` is 0 until the server sets it."""
    parts: dict[tuple[int, str], Weights] = {}
    for key, array in arrays.items():
        group, part, name = key.split("/", 2)
        parts.setdefault((int(group), part), {})[name] = array
    outcomes: list[Outcome] = [Failure(client, reason) for client, reason in json.loads(plain["failures"])]
    for number, (kind, clients, metrics, has_private) in enumerate(json.loads(plain["stacks"])):
        private = parts.get((number, "v"), {}) if has_private else None
        outcomes += Stack(kind, clients, parts.get((number, "p"), {}), metrics, private).updates()
    return outcomes
