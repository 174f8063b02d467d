import pytest
from pydantic import ValidationError

from stages.distill.config import DistillConfig, DistillWeights
from stages.finetune.config import FinetuneConfig
from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_heads.config import PruneHeadsConfig

CONFIGS = [FinetuneConfig, PruneHeadsConfig, DistillConfig, PruneFfnConfig]


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (FinetuneConfig, {"epochs": 3}),
        (PruneHeadsConfig, {"epochs": 4, "granularity": "block", "threshold": 0.1, "regular_scale": 10}),
        (PruneHeadsConfig, {"epochs": 4, "sparsity": 0.5}),
        (PruneFfnConfig, {"epochs": 3, "sparsity": "match_heads", "rounds": 36}),
        (DistillConfig, {"epochs": 3}),
    ],
)
def test_the_settings_of_the_documented_recipe_are_taken_and_none_is_ignored(config, settings):
    made = config(**settings)
    assert all(getattr(made, name) == value for name, value in settings.items())
    assert not getattr(made, "ignored", tuple)()


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_written_out_reads_back_equal(config):
    made = config(epochs=2)
    assert config(**made.model_dump(mode="json")) == made


@pytest.mark.parametrize("value", [0.5, 0, [0.1, 1.0], "match_heads"])
def test_every_form_of_channel_sparsity_reads_back_equal(value):
    made = PruneFfnConfig(sparsity=value)
    assert PruneFfnConfig(**made.model_dump(mode="json")) == made


def test_distillation_defaults_are_those_of_nni():
    weights = DistillWeights()
    assert (weights.task_weight, weights.logits_weight, weights.hidden_weight) == (0.1, 0.9, 0.9)
    assert weights.temperature == 2.0
    assert PruneHeadsConfig().distill is None
    assert PruneFfnConfig().distill == weights


def test_a_weight_of_distillation_may_be_called_by_its_term_alone():
    short = PruneFfnConfig(distill={"task": 1.0, "logits": 4.5, "hidden": 0.0})
    assert short == PruneFfnConfig(distill={"task_weight": 1.0, "logits_weight": 4.5, "hidden_weight": 0.0})
    assert DistillConfig(logits=4.5).logits_weight == 4.5


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (PruneHeadsConfig, {"sparsity": 1.0}, "less than 1"),
        (PruneHeadsConfig, {"sparsity": True}, "sparsity"),
        (PruneHeadsConfig, {"threshold": 1.0}, "less than 1"),
        (PruneHeadsConfig, {"criterion": "l1"}, "sparsity: must be given with criterion l1"),
        (PruneHeadsConfig, {"criterion": "taylor"}, "sparsity: must be given with criterion taylor"),
        (PruneHeadsConfig, {"prune_begin": 0.9}, "prune_end: must not come before prune_begin"),
        (PruneFfnConfig, {"sparsity": 1.5}, r"sparsity\n.*must be match_heads, a share in \[0, 1\).*got 1.5"),
        (PruneFfnConfig, {"sparsity": [0.5, 1.5]}, "must be match_heads"),
        (PruneFfnConfig, {"sparsity": float("nan")}, "must be match_heads"),
        (PruneFfnConfig, {"sparsity": 0.9, "max_sparsity_per_layer": 0.5}, "sparsity: must be at most max_spars"),
        (PruneFfnConfig, {"rounds": 0}, "greater than 0"),
        (DistillConfig, {"logits_weight": 0.0, "hidden_weight": 0.0}, "relations_weight: must not all be 0"),
        (DistillConfig, {"logits": 1.0, "logits_weight": 1.0}, "logits and logits_weight: say the same; leave one"),
        (DistillConfig, {"relations": []}, "must name at least one relation, and each once"),
        (DistillConfig, {"relations": ["qq", "qq"]}, "must name at least one relation, and each once"),
        (DistillConfig, {"relations": ["oo"]}, "relations"),
        (DistillConfig, {"relations_layer": -1}, "relations_layer"),
        (PruneFfnConfig, {"distill": {"temperature": 0.0}}, "greater than 0"),
        (FinetuneConfig, {"temperature": 2.0}, "not permitted"),
    ],
)
def test_settings_that_cannot_be_or_contradict_each_other_are_refused(config, settings, message):
    with pytest.raises(ValidationError, match=message):
        config(**settings)


@pytest.mark.parametrize(
    ("config", "settings", "ignored"),
    [
        (PruneHeadsConfig, {"sparsity": 0.5, "threshold": 0.2, "regular_scale": 3}, ("threshold",)),
        (PruneHeadsConfig, {"granularity": "head", "block_size": 4}, ("block_size",)),
        (
            PruneHeadsConfig,
            {
                "criterion": "l1",
                "sparsity": 0.5,
                "regular_scale": 3,
                "score_learning_rate": 0.1,
                "block_size": 4,
                "rounds": 9,
            },
            ("rounds", "regular_scale", "score_learning_rate", "block_size"),
        ),
        (PruneHeadsConfig, {"sparsity": 0.5}, ()),
        (PruneHeadsConfig, {"sparsity": 0.5, "score_learning_rate": 0.1}, ()),
        (
            PruneHeadsConfig,
            {"sparsity": 0.5, "regular_scale": 0, "score_learning_rate": 0.1},
            ("score_learning_rate",),
        ),
        (PruneHeadsConfig, {"regular_scale": 0, "score_learning_rate": 0.1}, ()),
        (PruneFfnConfig, {"scope": "local"}, ("scope",)),
        (PruneFfnConfig, {"sparsity": 0.5, "match_heads_ratio": 0.3}, ("match_heads_ratio",)),
        (
            PruneFfnConfig,
            {"sparsity": 0.5, "scope": "local", "max_sparsity_per_layer": 0.4},
            ("max_sparsity_per_layer",),
        ),
        (PruneFfnConfig, {"criterion": "l1", "form": "nni"}, ("form",)),
        (PruneFfnConfig, {"distill": None, "teacher": "source"}, ("teacher",)),
        (PruneFfnConfig, {"teacher": "source"}, ()),
        (PruneHeadsConfig, {"teacher": "source"}, ("teacher",)),
        (PruneHeadsConfig, {"distill": {}, "teacher": "source"}, ()),
    ],
)
def test_settings_without_effect_are_named(config, settings, ignored):
    assert config(**settings).ignored() == ignored
