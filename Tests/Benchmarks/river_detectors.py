"""Updates a CPU second of River's drift detectors, as JSON, on the numbers of DetectorsBenchmark.swift."""

import json
import time

from river import drift

KINDS = {
    "adwin": (drift.ADWIN, 200_000), "page_hinkley": (drift.PageHinkley, 200_000), "ddm": (drift.binary.DDM, 200_000),
    "eddm": (drift.binary.EDDM, 200_000), "hddm_a": (drift.binary.HDDMA, 20_000), "hddm_w": (drift.binary.HDDMW, 20_000),
    "fhddm": (drift.binary.FHDDM, 200_000), "kswin": (lambda: drift.KSWIN(seed=1), 1_000),
}


def numbers(count, is_binary):
    x = 42
    for _ in range(count):
        x = (1103515245 * x + 12345) % (1 << 31)
        uniform = x / (1 << 31)
        yield (1 if uniform < 0.2 else 0) if is_binary else uniform


rates = {}
for kind, (make, count) in KINDS.items():
    values = list(numbers(count, kind not in ("adwin", "page_hinkley", "kswin")))
    detector = make()
    update = detector.update
    alarms = 0
    began = time.process_time()
    for value in values:
        update(value)
        if detector.drift_detected:
            alarms += 1
    rates[kind] = count / (time.process_time() - began)
print(json.dumps({"updates_per_s": rates}))
