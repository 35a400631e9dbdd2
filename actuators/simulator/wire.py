"""Arrays over HTTP: one Arrow IPC stream whose single row holds a list per array.

Only between the simulator's own server and client; everything small is JSON instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

ARROW = "application/vnd.apache.arrow.stream"

Arrays = Mapping[str, NDArray[Any] | Sequence[str]]


def pack(arrays: Arrays, facts: Mapping[str, Any]) -> bytes:
    """`arrays` (of numbers, flags, or sequences of strings) and `facts` (JSON) as bytes."""
    columns, shapes = [], {}
    for name, array in arrays.items():
        if isinstance(array, np.ndarray):
            shapes[name] = list(array.shape)
            flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        else:
            flat = pa.array(array, pa.string())
        offsets = pa.array([0, len(flat)], pa.int32())
        columns.append(pa.ListArray.from_arrays(offsets, flat))
    about = {b"facts": json.dumps(dict(facts)).encode(), b"shapes": json.dumps(shapes).encode()}
    fields = [pa.field(name, col.type) for name, col in zip(arrays, columns, strict=True)]
    schema = pa.schema(fields, metadata=about)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    return bytes(sink.getvalue())


def unpack(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arrays, facts) of `pack`; strings come back as tuples, arrays can be written to.

    Raises:
        ValueError: `body` is something else.
    """
    try:
        with pa.ipc.open_stream(body) as reader:
            batch = reader.read_next_batch()
        about = batch.schema.metadata
        facts: dict[str, Any] = json.loads(about[b"facts"])
        shapes: dict[str, list[int]] = json.loads(about[b"shapes"])
        arrays: dict[str, Any] = {}
        for name in batch.schema.names:
            flat = batch.column(name).flatten()
            if name in shapes:
                values = flat.to_numpy(zero_copy_only=False)
                arrays[name] = np.array(values).reshape(shapes[name])
            else:
                arrays[name] = tuple(flat.to_pylist())
    except (pa.ArrowException, StopIteration, KeyError, TypeError) as error:
        raise ValueError(f"not an array message of the simulator ({error})") from None
    return arrays, facts
