"""The prior in the last layer's bias: there in training, not in evaluation."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from kexue._core import InputError
from kexue.losses import LogitAdjustedLoss, fold_prior

COUNTS = [90, 9, 1]


def test_training_and_evaluation():
    layer = nn.Linear(4, 3)
    x = torch.randn(5, 4)
    plain = layer(x).detach()
    assert fold_prior(layer, COUNTS, 0.5, target_prior=[1, 2, 3]) is layer
    shift = LogitAdjustedLoss(COUNTS, 0.5, target_prior=[1, 2, 3]).bias()
    assert torch.allclose(layer(x), plain + shift)
    assert torch.equal(layer.eval()(x), plain)
    assert torch.allclose(layer.train()(x), plain + shift)


def test_gradients_reach_the_parameter_and_the_state_comes_back():
    layer = fold_prior(nn.Linear(4, 3), COUNTS)
    layer(torch.randn(5, 4)).sum().backward()
    assert layer.parametrizations.bias.original.grad.tolist() == [5, 5, 5]
    other = fold_prior(nn.Linear(4, 3), COUNTS)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(5, 4)
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    with torch.no_grad():
        layer.bias = torch.tensor([1.0, 2.0, 3.0])
    assert layer.eval().bias.tolist() == [1, 2, 3]


def test_taken_off_for_good():
    layer = nn.Linear(4, 3)
    before = layer.bias.detach().clone()
    fold_prior(layer, COUNTS)
    parametrize.remove_parametrizations(layer, "bias", leave_parametrized=False)
    assert torch.equal(layer.train().bias, before)


def test_half_precision():
    layer = fold_prior(nn.Linear(4, 3), COUNTS).bfloat16()
    assert layer(torch.randn(2, 4).bfloat16()).dtype == torch.bfloat16


def test_bad_input():
    with pytest.raises(TypeError, match=r"a bias of shape \(K,\), got Linear without one"):
        fold_prior(nn.Linear(4, 3, bias=False), COUNTS)
    with pytest.raises(InputError, match="each of the 4 outputs of layer, got 3"):
        fold_prior(nn.Linear(4, 4), COUNTS)
    with pytest.raises(InputError, match="got one that fold_prior was called on"):
        fold_prior(fold_prior(nn.Linear(4, 3), COUNTS), COUNTS)
    with pytest.raises(InputError, match="got 0 for class 1"):
        fold_prior(nn.Linear(4, 3), [1, 0, 1])
