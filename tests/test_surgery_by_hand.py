"""Surgery from the public names alone, as the README and the notebooks do it."""

import torch


def test_five_lines_cut_any_supported_model(family, tiny_model, tiny_batch):
    from pipeline import KeepPlan, Kept, condense, dissect, mask_units

    model = tiny_model(family)
    groups = [group for group in dissect(model) if group.kind == "heads"]
    plan = KeepPlan({group.name: Kept(group.num_units, (0, 3)) for group in groups})
    smaller = condense(model, plan)

    assert [group.num_units for group in dissect(smaller) if group.kind == "heads"] == [2, 2]
    assert smaller.num_parameters() < model.num_parameters()
    batch = tiny_batch(family)
    torch.testing.assert_close(smaller(**batch).logits, mask_units(model, plan)(**batch).logits)
