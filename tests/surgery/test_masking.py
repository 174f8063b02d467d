import torch

from pipeline.surgery.groups import consumer_columns, dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.surgery.masking import kept_features, mask_units


def test_masking_zeroes_the_consumers_columns_of_removed_units_and_nothing_else(family, tiny_model):
    model = tiny_model(family)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    masked = mask_units(model, KeepPlan({"encoder.0.heads": Kept(4, (0, 3)), "encoder.1.channels": Kept(24, (5,))}))
    heads, _, _, channels = dissect(model)
    expected = dict(before)
    expected[f"{heads.consumer}.weight"] = before[f"{heads.consumer}.weight"].clone()
    expected[f"{heads.consumer}.weight"][:, 4:12] = 0
    column = torch.arange(24) == 5
    expected[f"{channels.consumer}.weight"] = before[f"{channels.consumer}.weight"] * column
    assert all(torch.equal(tensor, expected[name]) for name, tensor in masked.state_dict().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert consumer_columns(masked, heads).data_ptr() != consumer_columns(model, heads).data_ptr()


def test_kept_features_spell_each_unit_out_in_columns(tiny_model):
    heads = dissect(tiny_model("bert"))[0]
    assert kept_features(Kept(4, (1, 3)), heads).nonzero()[:, 0].tolist() == [4, 5, 6, 7, 12, 13, 14, 15]
