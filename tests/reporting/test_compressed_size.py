import gzip
import random

from pipeline.reporting.compressed_size import PIECE, gzip_bytes


def test_what_is_counted_unpacks_as_gzip_would_have_written_it(tmp_path):
    noise = random.Random(1).randbytes(PIECE + 5)
    (tmp_path / "model.safetensors").write_bytes(noise + b"\0" * PIECE)
    (tmp_path / "config.json").write_bytes(noise)
    usual = len(gzip.compress(noise + b"\0" * PIECE, compresslevel=6))
    assert abs(gzip_bytes(tmp_path) - usual) < 100
    assert gzip_bytes(tmp_path) < 1.01 * len(noise)


def test_files_are_added_up(tmp_path):
    assert gzip_bytes(tmp_path) == 0
    (tmp_path / "a.safetensors").write_bytes(b"x" * 50)
    one = gzip_bytes(tmp_path)
    (tmp_path / "b.safetensors").write_bytes(b"x" * 50)
    assert gzip_bytes(tmp_path) == 2 * one > 0
