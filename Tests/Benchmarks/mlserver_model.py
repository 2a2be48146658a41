"""Writes a logistic regression of scikit-learn and MLServer's settings for it into a folder: folder, features, ports of HTTP, gRPC and metrics."""

import json
import sys

import joblib
import numpy
from sklearn.linear_model import SGDClassifier

folder, features, http, grpc, metrics = sys.argv[1], *map(int, sys.argv[2:6])
events = numpy.random.default_rng(1).normal(size=(1000, features)).astype(numpy.float32)
joblib.dump(SGDClassifier(loss="log_loss").fit(events, events[:, 0] > 0), f"{folder}/model.joblib")
settings = {
    "model-settings": {
        "name": "clicks",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": f"{folder}/model.joblib"},
    },
    # No worker processes: one core is all that it has here.
    "settings": {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "debug": False, "parallel_workers": 0},
}
for name, content in settings.items():
    with open(f"{folder}/{name}.json", "w") as file:
        json.dump(content, file)
