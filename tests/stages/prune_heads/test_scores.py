import torch

from stages.prune_heads.scores import MovementScores, penalty_gradient


def test_scores_move_as_torch_adam_moves_them():
    scores, reference = MovementScores(5, lr=0.03), torch.zeros(5, requires_grad=True)
    adam = torch.optim.Adam([reference], lr=0.03)
    for seed in range(6):
        gradient = torch.randn(5, generator=torch.Generator().manual_seed(seed))
        reference.grad = gradient.clone()
        adam.step()
        scores.update(gradient)
    torch.testing.assert_close(scores.values, reference.detach())


def test_penalty_gradient_is_what_autograd_finds():
    sizes, scores = [4, 6], torch.randn(10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    share = torch.cat([torch.full((size,), 1 / (len(sizes) * size)) for size in sizes])
    penalty = 3.0 * torch.stack([part.sigmoid().mean() for part in scores.split(sizes)]).mean()
    (expected,) = torch.autograd.grad(penalty, scores)
    torch.testing.assert_close(penalty_gradient(scores.detach(), share, 3.0), expected)


def test_a_step_whose_gradients_overflowed_moves_no_score():
    scores, untouched = MovementScores(3, lr=0.1), MovementScores(3, lr=0.1)
    for moved in (scores, untouched):
        moved.update(torch.tensor([1.0, -1.0, 0.5]))
    for value in (torch.inf, -torch.inf, torch.nan):
        scores.update(torch.tensor([0.0, value, 0.0]))
    assert all(torch.equal(tensor, untouched.tensors()[name]) for name, tensor in scores.tensors().items())
