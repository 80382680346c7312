"""The Flower ClientApp: unpack a message, let `fedunlearn` work, reply.

A SuperNode is a worker slot, not a client: one message carries the orders of several logical clients.
"""

import faulthandler
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

import fedunlearn.unlearning  # noqa: F401  # registers the methods' client halves
from fedunlearn.learning import worker_for
from fedunlearn.wire import decode_order, encode_outcomes, from_npy, to_npy

app = ClientApp()


@app.train("work")
def work(message: Message, context: Context) -> Message:
    """Perform the order for every client that the message names; a client that fails does not stop the others."""
    config, records = message.content.config_records["order"], message.content.array_records
    weights, private, attachments = (
        {name: from_npy(array.data) for name, array in records[part].items()}
        for part in ("weights", "private", "attachments")
    )
    order = decode_order(config, weights, private, attachments)
    started = time.process_time()
    with _watchdog(float(str(config["seconds"]))):
        stacks, failures = worker_for(str(config["site"])).perform(order)
    arrays, plain = encode_outcomes(stacks, failures)
    packed = {name: Array(str(a.dtype), a.shape, "numpy.ndarray", to_npy(a)) for name, a in arrays.items()}
    reply = RecordDict(
        {
            "arrays": ArrayRecord(packed),
            "report": ConfigRecord(plain | {"cpu-seconds": time.process_time() - started}),
        }
    )
    return Message(reply, reply_to=message)


@contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    """End this process if the work takes longer: the last resort against a hang inside native code.

    Only in a disposable worker process, which the engine restarts; Python-level hangs are cut short much
    earlier by the worker's own limit per client.
    """
    if os.environ.get("FEDUNLEARN_WORKER") != "1":
        yield
        return
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
