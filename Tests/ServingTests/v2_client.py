"""Asks a node by the V2 protocol with NVIDIA's client and compares the answers with those of V1: python v2_client.py PORT"""

import json
import sys
import urllib.request

import numpy
import tritonclient.http as triton

port = sys.argv[1]
instances = [
    {"site": "s%d" % i, "price": float(numpy.float32(0.1 * i)), "größe": 0.3 * i, "hour": i, "title": 'a "ü" %d' % i, "emb": [0.5 * i] * 5, "tags": ["t", i]}
    for i in range(7)
]


def tensors(binary):
    def tensor(name, datatype, values, dtype):
        array = numpy.array(values, dtype=dtype)
        tensor = triton.InferInput(name, array.shape, datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        return tensor

    def column(name):
        return [instance[name] for instance in instances]

    return [
        tensor("site", "BYTES", column("site"), object),
        tensor("price", "FP32", [[price] for price in column("price")], numpy.float32),
        tensor("größe", "FP64", column("größe"), numpy.float64),
        tensor("hour", "INT64", column("hour"), numpy.int64),
        tensor("title", "BYTES", column("title"), object),
        tensor("emb", "FP32", column("emb"), numpy.float32),
        tensor("tags", "BYTES", [json.dumps(tags) for tags in column("tags")], object),
    ]


request = urllib.request.Request(
    "http://127.0.0.1:%s/v1/models/clicks:predict" % port, json.dumps({"instances": instances}).encode(), {"content-type": "application/json"})
expected = json.load(urllib.request.urlopen(request))

client = triton.InferenceServerClient("127.0.0.1:" + port)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("clicks")
assert not client.is_model_ready("nobody")
assert client.get_server_metadata()["name"] == "freshet"
inputs = {tensor["name"] for tensor in client.get_model_metadata("clicks")["inputs"]}
assert inputs == {"site", "price", "größe", "hour", "title", "emb", "tags", "scores", "device"}, inputs

answers = 0
for binary in [True, False]:
    for outputs in [None, [triton.InferRequestedOutput("prediction", binary_data=True)], [triton.InferRequestedOutput("prediction", binary_data=False)]]:
        answer = client.infer("clicks", tensors(binary), outputs=outputs, request_id="7")
        predictions = answer.as_numpy("prediction")
        assert predictions.dtype == numpy.float64 and predictions.shape == (7,)
        assert predictions.tolist() == expected["predictions"], (binary, predictions, expected)
        assert answer.get_response()["model_version"] == expected["model_version"] and answer.get_response()["id"] == "7"
        answers += 1
    answer = client.infer("clicks", tensors(binary), model_version=expected["model_version"])
    assert answer.as_numpy("prediction").tolist() == expected["predictions"]
    answers += 1
try:
    client.infer("clicks", tensors(True), model_version="1")
    sys.exit("version 1 was answered")
except triton.InferenceServerException as error:
    assert "version 600 is" in str(error), error
print("%d answers, all as V1's" % answers)
