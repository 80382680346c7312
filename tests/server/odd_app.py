"""A ClientApp whose clients are slow, raise, or return a large array; in a module, so that Ray's workers import it."""

import time

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train("slow")
def slow(message, context):
    time.sleep(600)


@app.train("raise")
def raise_error(message, context):
    raise ValueError("out of paper\nand out of ink")


@app.train("answer")
def answer(message, context):
    array = np.full((300, 1000), context.node_id, np.float32)
    return Message(RecordDict({"arrays": ArrayRecord({"x": Array(array)})}), reply_to=message)
