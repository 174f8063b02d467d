import json

from pipeline.training.metrics_log import MetricsLog


def test_each_call_is_one_line_of_json(tmp_path):
    log = MetricsLog(tmp_path / "new" / "metrics.jsonl")
    log(1, loss=0.5)
    log(2, loss=float("nan"), name="x", heads=3)
    assert log.lines() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None, "name": "x", "heads": 3}]
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1, 2]


def test_a_log_is_cut_back_to_a_position(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.position() == 0
    log(1)
    position = log.position()
    log(1, after="the same step")
    log.rewind(position)
    assert log.lines() == [{"step": 1}]
    log.rewind(10_000)
    assert log.lines() == [{"step": 1}]


def test_a_log_is_cut_back_to_a_step(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.truncate(0)
    for step in (0, 1, 2, 3):
        log(step)
    log.truncate(2)
    assert [line["step"] for line in log.lines()] == [0, 1, 2]


def test_half_a_line_left_by_a_kill_is_not_read_and_is_cut_off(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log(1)
    with log.path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert log.lines() == [{"step": 1}]
    log.truncate(5)
    log(2)
    assert log.lines() == [{"step": 1}, {"step": 2}]


def test_a_process_that_does_not_write_leaves_the_file_alone(tmp_path):
    main = MetricsLog(tmp_path / "metrics.jsonl")
    main(5)
    other = MetricsLog(main.path, writes=False)
    other(6)
    other.truncate(0)
    other.rewind(0)
    assert main.lines() == [{"step": 5}]
