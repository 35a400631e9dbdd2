"""The fast decoder against the JSON parser, on whatever a server may write."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pla.sources.prometheus import decoding
from pla.sources.prometheus.decoding import decode

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["NaN", "+Inf", "-Inf", "0", "-0", "1e-07", "1.5e+300", "5e-324", "1e22"]),
    st.integers(-(2**70), 2**70).map(str),
)
TIMES = st.one_of(
    st.integers(0, 2**33), st.integers(0, 2**43).map(lambda milliseconds: milliseconds / 1000)
)
SAMPLES = st.lists(st.tuples(TIMES, NUMBERS), max_size=6)


def body(series: list[Any], separators: tuple[str, str] = (",", ":")) -> bytes:
    result = [
        {"metric": {"w": str(row)}, "values": [list(sample) for sample in samples]}
        for row, samples in enumerate(series)
    ]
    told = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    return json.dumps(told, separators=separators).encode()


def columns(answer: decoding.Answer) -> tuple[list[int], list[float], list[float]]:
    parts = list(answer.samples())
    return (
        [row for part in parts for row in part.series.tolist()],
        [at_s for part in parts for at_s in part.times.tolist()],
        [value for part in parts for value in part.values.tolist()],
    )


def same(got: list[float], want: list[float]) -> bool:
    pairs = zip(got, want, strict=True)
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


@given(st.lists(SAMPLES, max_size=8), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_columns_are_what_the_json_says(series: list[Any], style: tuple[str, str]) -> None:
    answer = decode(body(series, style))
    rows, times, values = columns(answer)
    flat = [(row, *sample) for row, samples in enumerate(series) for sample in samples]
    assert rows == [row for row, _, _ in flat]
    assert same(times, [float(at_s) for _, at_s, _ in flat])
    assert same(values, [float(value) for _, _, value in flat])
    assert [json.loads(metric)["w"] for metric in answer.metrics] == [*map(str, range(len(series)))]


def test_batches_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    series = [
        [
            (1_700_000_000 + 60 * k, repr(value))
            for k, value in enumerate(random.gamma(1, 1, n).tolist())
        ]
        for n in random.integers(0, 50, 200).tolist()
    ]
    whole = columns(decode(body(series)))
    monkeypatch.setattr(decoding, "BATCH_BYTES", 500)
    assert columns(decode(body(series))) == whole


def test_an_instant_answer_has_one_sample_per_series() -> None:
    told = {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [{"metric": {}, "value": [1.5, "2"]}, {"metric": {}, "value": [1.5, "NaN"]}],
        },
    }
    text = json.dumps(told, separators=(",", ":")).encode()
    rows, times, values = columns(decode(text))
    assert rows == [0, 1] and times == [1.5, 1.5] and values[0] == 2 and math.isnan(values[1])


def test_histograms_and_unknown_keys_are_passed_over() -> None:
    text = (
        b'{"status":"success","infos":["x"],"data":{"resultType":"matrix","stats":{},"result":'
        b'[{"metric":{"a":"b"},"histograms":[[1,{"count":"3"}]]},'
        b'{"metric":{},"values":[[1,"2"]]}]}}'
    )
    assert columns(decode(text)) == ([1], [1.0], [2.0])


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>", b"[]", b'{"data":{}}', b'{"status":"success","data":{"result":[{"metric":{}'],
)
def test_what_is_no_answer_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        decode(text)


@pytest.mark.parametrize(
    "values", ['[["x","1"]]', '[[1,"1"],[2]]', '[[1,"one"]]', '[[1,"1"],null]', '{"a":"1"}']
)
def test_samples_that_are_none_are_an_error(values: str) -> None:
    head, tail = '{"status":"success","data":{"resultType":"matrix","result":[{"values":', "}]}}"
    text = f"{head}{values}{tail}"
    with pytest.raises((ValueError, TypeError)):
        columns(decode(text.encode()))
