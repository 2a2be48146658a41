#!/usr/bin/env python3
"""scikit-learn's SGDClassifier over dense events in batches of 32, for `make bench`.

    partial_fit.py ROWS SIZE     ROWS: a file of 32-bit floats, each row a label and SIZE numbers

Prints one JSON object: examples a CPU second of partial_fit alone (the median of three passes), null without scikit-learn.
"""
import json
import os
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
try:
    import numpy as np
    from sklearn.linear_model import SGDClassifier
except ImportError:
    print(json.dumps({"examples_per_cpu_s": None}))
    sys.exit()

rows = np.fromfile(sys.argv[1], dtype=np.float32).reshape(-1, int(sys.argv[2]) + 1)
x, y = np.ascontiguousarray(rows[:, 1:]), rows[:, 0].astype(np.int64)
rates = []
for _ in range(3):
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01)
    began = time.process_time()
    for start in range(0, len(x), 32):
        model.partial_fit(x[start:start + 32], y[start:start + 32], classes=[0, 1])
    rates.append(len(x) / (time.process_time() - began))
print(json.dumps({"examples_per_cpu_s": sorted(rates)[1]}))
