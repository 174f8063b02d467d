"""Tiny models of every family, for any test; transformers is imported only when one is asked for."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

TEXT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
IMAGE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "image_size": 8,
    "patch_size": 4,
}
SIZES: dict[str, dict[str, Any]] = {
    "bert": TEXT,
    "roberta": TEXT,
    "electra": {**TEXT, "embedding_size": 8},
    "distilbert": {
        "vocab_size": 50,
        "dim": 16,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 24,
        "max_position_embeddings": 32,
    },
    "vit": IMAGE,
    "deit": IMAGE,
}


@pytest.fixture(autouse=True, scope="session")
def _short_timings() -> Iterator[None]:
    """Time every model for a few rounds: half a second for each size of batch, after each stage, adds up."""
    from pipeline.reporting.latency import measure_latency
    from pipeline.reporting.profile import profile_stage

    with pytest.MonkeyPatch.context() as monkeypatch:
        for function in (measure_latency, profile_stage):
            monkeypatch.setitem(function.__kwdefaults__, "rounds", 3)
            monkeypatch.setitem(function.__kwdefaults__, "min_seconds", 0.0)
        yield


@pytest.fixture(params=list(SIZES))
def family(request: pytest.FixtureRequest) -> str:
    """The model type of each supported family in turn."""
    return str(request.param)


@pytest.fixture
def tiny_sizes() -> Callable[..., dict[str, Any]]:
    """A function from model type to the config fields of a tiny model."""
    return lambda model_type: dict(SIZES[model_type])


@pytest.fixture
def tiny_model() -> Callable[..., Any]:
    """A function from model type, and maybe head class and config fields, to a model with loud random weights."""

    def build(model_type: str, head: str | None = None, *, seed: int = 0, **fields: Any) -> Any:
        import torch
        import transformers

        attention = fields.pop("attn_implementation", "sdpa")
        num_labels = 2 if head == "ForQuestionAnswering" else 3
        fields = {**SIZES[model_type], "num_labels": num_labels, **fields}
        config = transformers.AutoConfig.for_model(model_type, **fields)
        config._attn_implementation = attention
        mapping = transformers.CONFIG_MAPPING[model_type].__name__.removesuffix("Config")
        suffix = head or (
            "ForImageClassification" if "image_size" in SIZES[model_type] else "ForSequenceClassification"
        )
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            model = getattr(transformers, f"{mapping}{suffix}")(config).eval()
            for parameter in model.parameters():
                parameter.normal_(std=0.3)
        return model

    return build


@pytest.fixture
def tiny_batch() -> Callable[..., dict[str, Any]]:
    """A function from model type to inputs of two rows, the second one padded where it is text."""

    def build(model_type: str) -> dict[str, Any]:
        import torch

        generator = torch.Generator().manual_seed(1)
        if "image_size" in SIZES[model_type]:
            return {"pixel_values": torch.randn(2, 3, 8, 8, generator=generator)}
        mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
        return {"input_ids": torch.randint(5, 50, (2, 7), generator=generator), "attention_mask": mask}

    return build


@pytest.fixture
def assert_same_states() -> Callable[..., None]:
    """A function of two models, or states of theirs: that both hold the same weights and buffers, bit for bit."""
    import torch

    def check(*models: Any) -> None:
        states = [model.state_dict() if isinstance(model, torch.nn.Module) else model for model in models]
        torch.testing.assert_close(*states, rtol=0, atol=0)

    return check


@pytest.fixture
def edit_weights() -> Callable[..., None]:
    """A function from a model's folder, and one that changes a dictionary of tensors, to the folder so changed."""
    from safetensors.torch import load_file, save_file

    def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


@pytest.fixture
def largest_tensor() -> Any:
    """A context manager that remembers the elements of the largest tensor made in memory while it is open.

    Tensors it is given, and views of them, do not count.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class LargestTensor(TorchDispatchMode):
        def __init__(self, known: Any = ()) -> None:
            super().__init__()
            self.elements = 0
            self.known = {tensor.untyped_storage().data_ptr() for tensor in known}

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, (tuple, list)) else [result]:
                in_memory = isinstance(tensor, torch.Tensor) and tensor.device.type != "meta"
                if in_memory and tensor.untyped_storage().data_ptr() not in self.known:
                    self.elements = max(self.elements, tensor.numel())
            return result

    return LargestTensor
