from pipeline.reporting.cost_tables import latency_table, size_table, zeros_table

MEASURED = {
    "finetune": {
        "parameters": 2000.0,
        "size_bytes": 8000.0,
        "latency_b8_ms": 4.0,
        "latency_b8_p95_ms": 6.5,
        "speedup_b8": 1.0,
    },
    "prune": {
        "parameters": 500.0,
        "size_gzip_bytes": 900.0,
        "latency_b8_ms": 2.0,
        "latency_b8_p95_ms": 2.25,
        "speedup_b8": 1.9,
    },
    "other": {},
}


def test_sizes_stand_beside_their_share_of_the_first_stage():
    table = size_table(MEASURED)
    assert table.headers == ["stage", "all parameters", "bytes of weights", "gzipped"]
    assert table.rows[:2] == [["finetune", "2k (100.0%)", "8k (100.0%)", "–"], ["prune", "500 (25.0%)", "–", "900"]]


def test_latency_has_its_spread_and_only_batch_sizes_that_were_timed():
    table = latency_table(MEASURED)
    assert table.headers == ["stage", "batch 8"]
    assert table.rows == [
        ["finetune", "4.00 (6.50), 1.00×"],
        ["prune", "2.00 (2.25), 1.90×"],
        ["other", "–"],
    ]


def test_zeros_are_told_of_the_stages_that_made_them():
    zeros = {"weights_touched": 2000.0, "weight_sparsity": 0.9, "matmul_sparsity": 0.85}
    made = {**zeros, "blocks": 500.0, "blocks_removed": 450.0, "gzip_ratio": 5.25}
    table = zeros_table({"finetune": {}, "sparsify": made})
    assert table.rows == [["sparsify", "2k", "90.0%", "85.0%", "450 of 500", "5.25× smaller"]]


def test_what_nobody_measured_makes_no_table():
    assert size_table({"finetune": {}}) is None
    assert zeros_table({"finetune": {}}) is None
    assert latency_table({"finetune": {}}) is None
