// Printed by river_answers.py, which says how.

extension RiverAnswer {
    static let all = [
        RiverAnswer(
            "adwin", [:], DriftStream(.bernoulli, seed: 1001, [(2000, 0.1, 0.1), (2000, 0.3, 0.3), (2000, 0.3, 0.6)]),
            drifts: [2079, 4959], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "adwin", [:], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [2047, 3583, 4991, 5919], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "adwin", [:], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [1535, 3039, 4543], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "adwin", [:], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [2431, 3199, 4031], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "page_hinkley", [:], DriftStream(.bernoulli, seed: 1001, [(2000, 0.1, 0.1), (2000, 0.3, 0.3), (2000, 0.3, 0.6)]),
            drifts: [2207, 4204, 5164], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "page_hinkley", [:], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [2089, 3614, 4524, 5245], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "page_hinkley", [:], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [1578, 3083, 4615], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "page_hinkley", [:], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [2568, 3431, 4087], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "ddm", [:], DriftStream(.bernoulli, seed: 1001, [(2000, 0.1, 0.1), (2000, 0.3, 0.3), (2000, 0.3, 0.6)]),
            drifts: [2086, 2159, 4155, 5164], warnings: 1702, sumOfWarnings: 6306400),
        RiverAnswer(
            "ddm", [:], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "ddm", [:], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [40, 98, 1785, 4855], warnings: 876, sumOfWarnings: 3787738),
        RiverAnswer(
            "eddm", [:], DriftStream(.bernoulli, seed: 1001, [(2000, 0.1, 0.1), (2000, 0.3, 0.3), (2000, 0.3, 0.6)]),
            drifts: [252, 585, 820, 1148, 1543, 1925, 2063, 2159, 2894, 3088, 3295, 3401, 3513, 3611, 3908, 3995, 4094, 4186, 4951, 5051, 5122, 5177], warnings: 1021, sumOfWarnings: 4476907),
        RiverAnswer(
            "eddm", [:], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [60, 178, 239, 294, 351, 446, 513, 580, 645, 774, 819, 884, 931, 1000], warnings: 1981, sumOfWarnings: 6424022),
        RiverAnswer(
            "eddm", [:], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [166, 314, 666, 1060, 1193, 1351, 1504, 1574, 1756, 1838, 1913, 4993, 5429, 5489, 5620], warnings: 891, sumOfWarnings: 3188895),
        RiverAnswer(
            "eddm", [:], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "hddm_a", [:], DriftStream(.bernoulli, seed: 1001, [(2000, 0.1, 0.1), (2000, 0.3, 0.3), (2000, 0.3, 0.6)]),
            drifts: [2081, 4947], warnings: 101, sumOfWarnings: 466742),
        RiverAnswer(
            "hddm_a", [:], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "hddm_a", [:], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [1522, 4660], warnings: 23, sumOfWarnings: 100664),
        RiverAnswer(
            "hddm_a", [:], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [2569, 3465], warnings: 156, sumOfWarnings: 487085),
        RiverAnswer(
            "hddm_w", [:], DriftStream(.bernoulli, seed: 1001, [(2000, 0.1, 0.1), (2000, 0.3, 0.3), (2000, 0.3, 0.6)]),
            drifts: [2075, 4208, 4953, 5836], warnings: 34, sumOfWarnings: 129210),
        RiverAnswer(
            "hddm_w", [:], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [3504, 4690], warnings: 33, sumOfWarnings: 122009),
        RiverAnswer(
            "hddm_w", [:], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [1516, 2113, 4532, 5623], warnings: 54, sumOfWarnings: 149875),
        RiverAnswer(
            "hddm_w", [:], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [2849], warnings: 30, sumOfWarnings: 106419),
        RiverAnswer(
            "fhddm", [:], DriftStream(.bernoulli, seed: 1001, [(2000, 0.1, 0.1), (2000, 0.3, 0.3), (2000, 0.3, 0.6)]),
            drifts: [], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "fhddm", [:], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [2032, 4426, 5256], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "fhddm", [:], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [3036], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "fhddm", [:], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [4033], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "page_hinkley", ["mode": 1, "threshold": 10.0, "min_instances": 5], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [295, 668, 1096, 1521, 2620, 2985, 3826, 4503, 5519, 5652], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "page_hinkley", ["mode": 2, "threshold": 3.0, "delta": 0.05, "alpha": 0.999], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [405, 1641, 4004, 4783], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "ddm", ["warm_start": 5, "warning_threshold": 1.5, "drift_threshold": 2.5], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [40, 62, 79, 97, 1533, 4853, 4866], warnings: 1939, sumOfWarnings: 6334909),
        RiverAnswer(
            "eddm", ["warm_start": 10, "alpha": 0.9, "beta": 0.8], DriftStream(.bernoulli, seed: 1003, [(1500, 0.2, 0.2), (1500, 0.7, 0.7), (1500, 0.1, 0.1), (1500, 0.5, 0.5)]),
            drifts: [79, 1716, 1741], warnings: 1396, sumOfWarnings: 5479652),
        RiverAnswer(
            "hddm_a", ["two_sided_test": 1, "drift_confidence": 1e-06], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [2027, 3545, 4941], warnings: 1068, sumOfWarnings: 5104523),
        RiverAnswer(
            "hddm_a", ["two_sided_test": 1, "warning_confidence": 0.1], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [2569, 3465, 4007], warnings: 501, sumOfWarnings: 1519224),
        RiverAnswer(
            "hddm_w", ["two_sided_test": 1, "lambda_val": 0.01], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [2027, 3514, 4413, 4995, 5789], warnings: 117, sumOfWarnings: 538621),
        RiverAnswer(
            "hddm_w", ["two_sided_test": 1, "lambda_val": 0.2, "warning_confidence": 0.1], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [3604, 4007], warnings: 756, sumOfWarnings: 2442521),
        RiverAnswer(
            "fhddm", ["short_window_size": 25, "confidence_level": 0.0001], DriftStream(.bernoulli, seed: 1002, [(2000, 0.9, 0.9), (1500, 0.4, 0.4), (2500, 0.8, 0.2)]),
            drifts: [2013, 2586, 2977, 3858, 4402, 4721, 5256, 5690], warnings: 0, sumOfWarnings: 0),
        RiverAnswer(
            "fhddm", ["sliding_window_size": 60, "confidence_level": 0.01], DriftStream(.real, seed: 1004, [(2000, 0.3, 0.3), (2000, 0.3, 0.9), (2000, 0.1, 0.1)]),
            drifts: [4013], warnings: 0, sumOfWarnings: 0),
    ]
}
