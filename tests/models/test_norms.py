from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from mmcsal.models import ModelSpec
from mmcsal.models.encoders.audio.resnet18 import ResnetAudioSpec
from mmcsal.models.encoders.audio.tiny import TinyAudioSpec
from mmcsal.models.encoders.resnet_trunk import resnet18_features
from mmcsal.models.encoders.video.r2plus1d_18 import R2plus1dVideoSpec
from mmcsal.models.encoders.video.resnet18 import ResnetVideoSpec
from mmcsal.models.encoders.video.tiny import TinyVideoSpec
from mmcsal.models.norms import FrozenBatchNorm, replace_batch_norms
from mmcsal.training.spec import PretrainSpec
from mmcsal.training.state import TrainState, load_model

torch.set_num_threads(1)

SPECS = [ResnetVideoSpec, ResnetAudioSpec, R2plus1dVideoSpec]


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A network of torchvision whose statistics and affine weights are not those it was born with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = resnet18(weights=None).train()
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.uniform_(-0.2, 0.2)
            for seed in range(8):
                net(images(8, seed))
    return net


@pytest.fixture(scope="module")
def weights(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    ("given", "norm"),
    [
        ({}, "group"),
        ({"norm": None}, "group"),
        ({"weights": "w.pth"}, "frozen"),
        ({"weights": "w.pth", "norm": None}, "frozen"),
        ({"weights": "w.pth", "norm": "group"}, "group"),
        ({"weights": None, "norm": "frozen"}, "frozen"),
        ({"norm": "batch"}, "batch"),
    ],
)
def test_the_norm_follows_the_weights_unless_it_is_named(spec, given, norm):
    assert spec(**given).norm == norm
    assert spec.model_validate(given) == spec(**given)
    assert spec(**given).model_dump()["norm"] == norm, "the file of a run names it"


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="'group', 'frozen' or 'batch'"):
        ResnetVideoSpec(norm="layer")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("spec", SPECS)
def test_only_batch_depends_on_the_batch(spec):
    assert [spec(norm=norm).depends_on_batch for norm in ("group", "frozen", "batch")] == [False, False, True]
    assert not TinyVideoSpec().depends_on_batch
    assert not TinyAudioSpec().depends_on_batch


@pytest.mark.parametrize("norm", ["group", "frozen", "batch"])
def test_in_training_the_other_rows_matter_to_batch_alone(norm, weights):
    net = resnet18_features(3, weights, norm).train()
    x, others = images(4), images(4, seed=1)
    with torch.no_grad():
        first, second = net(x)[0], net(torch.cat((x[:1], others[1:])))[0]
    assert torch.allclose(first, second, rtol=1e-5, atol=1e-6) == (norm != "batch")


def test_frozen_in_train_mode_is_torchvision_in_eval_mode(net, weights):
    with torch.no_grad():
        pooled: list[torch.Tensor] = []
        handle = net.avgpool.register_forward_hook(lambda *args: pooled.append(args[2].flatten(1)))
        net.eval()(images(3))
        handle.remove()
        torch.testing.assert_close(resnet18_features(3, weights, "frozen").train()(images(3)), pooled[0])


def test_frozen_trains_its_affine_weights_and_keeps_its_statistics(weights):
    net = resnet18_features(3, weights, "frozen").train()
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net(images(3)).square().sum().backward()
    assert before
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    frozen = [module for module in net.modules() if isinstance(module, FrozenBatchNorm)]
    assert len(frozen) == 20
    assert all(m.weight.grad is not None and m.weight.grad.abs().sum() > 0 for m in frozen)
    assert all(m.bias.grad is not None for m in frozen)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (45, 15), (921, 3), (7, 7), (37, 1)])
def test_group_norm_against_a_float64_reference(channels, groups):
    generator = torch.Generator().manual_seed(0)
    source = nn.BatchNorm3d(channels)
    with torch.no_grad():
        source.weight.copy_(torch.rand(channels, generator=generator))
        source.bias.copy_(torch.rand(channels, generator=generator))
    net = nn.Sequential(source)
    replace_batch_norms(net, "group")
    x = torch.randn(2, channels, 3, 4, 5, generator=generator) * 3 + 1
    grouped = x.double().reshape(2, groups, -1)
    centered = grouped - grouped.mean(dim=2, keepdim=True)
    scaled = (centered / (centered.square().mean(dim=2, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
    affine = [p.detach().double().reshape(1, -1, 1, 1, 1) for p in (source.weight, source.bias)]
    torch.testing.assert_close(net(x).double(), scaled * affine[0] + affine[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["group", "frozen", "batch"])
def test_no_other_norm_is_left(norm):
    net = R2plus1dVideoSpec(norm=norm).build()
    found = {type(m) for m in net.modules() if "Norm" in type(m).__name__}
    assert found == {{"group": nn.GroupNorm, "frozen": FrozenBatchNorm, "batch": nn.BatchNorm3d}[norm]}


@pytest.mark.parametrize(("given", "norm"), [(None, "frozen"), ("group", "group"), ("batch", "batch")])
def test_a_checkpoint_comes_back_with_its_norm_where_the_weights_are_gone(given, norm, net, tmp_path):
    path = tmp_path / "resnet18.pth"
    torch.save(net.state_dict(), path)
    spec = ModelSpec(video=ResnetVideoSpec.model_validate({"weights": path, "norm": given}))
    state = TrainState(PretrainSpec(), spec, seed=0, steps_per_epoch=1)
    torch.save(state.encoders_dict(), tmp_path / "encoders.pt")
    path.unlink()
    checkpoint = torch.load(tmp_path / "encoders.pt", weights_only=True)
    assert checkpoint["model_spec"]["video"]["norm"] == norm
    model, _ = load_model(checkpoint)
    video = images(6).reshape(2, 3, 3, 32, 32).permute(0, 1, 3, 4, 2)
    with torch.no_grad():
        torch.testing.assert_close(model.video_encoder(video), state.model.eval().video_encoder(video))
