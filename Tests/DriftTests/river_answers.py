"""Prints RiverAnswers.swift: what River 0.26.1's detectors say of streams that DriftStream makes.

python3 -m venv river && river/bin/pip install river==0.26.1
river/bin/python Tests/DriftTests/river_answers.py > Tests/DriftTests/RiverAnswers.swift
"""

from river import drift

KINDS = {
    "adwin": drift.ADWIN, "page_hinkley": drift.PageHinkley, "ddm": drift.binary.DDM, "eddm": drift.binary.EDDM,
    "hddm_a": drift.binary.HDDMA, "hddm_w": drift.binary.HDDMW, "fhddm": drift.binary.FHDDM,
}
RISE = ("bernoulli", 1001, [(2000, 0.1, 0.1), (2000, 0.3, 0.3), (2000, 0.3, 0.6)])
FALL = ("bernoulli", 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)])
TURNS = ("bernoulli", 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)])
REAL = ("real", 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)])
RUNS = [(kind, stream, {}) for kind in KINDS for stream in (RISE, FALL, TURNS, REAL) if (kind, stream) != ("ddm", REAL)] + [
    ("page_hinkley", TURNS, {"mode": "up", "threshold": 10.0, "min_instances": 5}),
    ("page_hinkley", REAL, {"mode": "down", "threshold": 3.0, "delta": 0.05, "alpha": 0.999}),
    ("ddm", TURNS, {"warm_start": 5, "warning_threshold": 1.5, "drift_threshold": 2.5}),
    ("eddm", TURNS, {"warm_start": 10, "alpha": 0.9, "beta": 0.8}),
    ("hddm_a", FALL, {"two_sided_test": True, "drift_confidence": 1e-6}),
    ("hddm_a", REAL, {"two_sided_test": True, "warning_confidence": 0.1}),
    ("hddm_w", FALL, {"two_sided_test": True, "lambda_val": 0.01}),
    ("hddm_w", REAL, {"two_sided_test": True, "lambda_val": 0.2, "warning_confidence": 0.1}),
    ("fhddm", FALL, {"short_window_size": 25, "confidence_level": 1e-4}),
    ("fhddm", REAL, {"sliding_window_size": 60, "confidence_level": 0.01}),
]


def values(kind, seed, segments):
    x = seed

    def uniform():
        nonlocal x
        x = (1103515245 * x + 12345) % (1 << 31)
        return x / (1 << 31)

    for count, first, last in segments:
        for i in range(count):
            level = first + (last - first) * i / count
            if kind == "bernoulli":
                yield 1 if uniform() < level else 0
            else:
                total = 0.0
                for _ in range(12):
                    total += uniform()
                yield level + 0.25 * (total - 6)


def swift(name, value):
    number = ["both", "up", "down"].index(value) if name == "mode" else value
    return f'"{name}": {int(number) if isinstance(number, bool) else number}'


print("// Printed by river_answers.py, which says how.\n\nextension RiverAnswer {\n    static let all = [")
for kind, stream, parameters in RUNS:
    detector = KINDS[kind](**parameters)
    drifts, warnings = [], []
    for i, value in enumerate(values(*stream)):
        detector.update(value)
        if detector.drift_detected:
            drifts.append(i)
        if getattr(detector, "warning_detected", False):
            warnings.append(i)
    given = ", ".join(swift(name, value) for name, value in parameters.items()) or ":"
    segments = ", ".join(f"({count}, {first}, {last})" for count, first, last in stream[2])
    print(f'        RiverAnswer(\n            "{kind}", [{given}], DriftStream(.{stream[0]}, seed: {stream[1]}, [{segments}]),')
    print(f"            drifts: {drifts}, warnings: {len(warnings)}, sumOfWarnings: {sum(warnings)}),")
print("    ]\n}")
