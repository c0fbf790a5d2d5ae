from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.video import R2Plus1D_18_Weights, VideoResNet, r2plus1d_18, r3d_18

from mmcsal.contracts.errors import InputError
from mmcsal.models import ModelSpec, build_model
from mmcsal.models.encoders.video.r2plus1d_18 import R2plus1dVideoSpec

torch.set_num_threads(1)


def video(n: int = 2, t: int = 4, height: int = 32, width: int = 24, channels: int = 3) -> torch.Tensor:
    return torch.rand(n, t, height, width, channels, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net() -> VideoResNet:
    """A network of torchvision whose statistics are not those it was born with."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        net = r2plus1d_18(weights=None).train()
        for _ in range(8):
            net(torch.randn(4, 3, 4, 32, 32))
    return net.eval()


@pytest.fixture(scope="module")
def weights(net: VideoResNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "r2plus1d_18.pth"
    torch.save(net.state_dict(), path)
    return path


def test_features_are_those_of_torchvision_with_its_own_transform(net, weights):
    transform = R2Plus1D_18_Weights.KINETICS400_V1.transforms(crop_size=(32, 24), resize_size=(32, 24))
    inputs = transform(video().permute(0, 1, 4, 2, 3))
    pooled: list[torch.Tensor] = []
    with torch.no_grad():
        handle = net.avgpool.register_forward_hook(lambda *args: pooled.append(args[2].flatten(1)))
        net(inputs)
        handle.remove()
        ours = R2plus1dVideoSpec(weights=weights).build().train()(video())
    torch.testing.assert_close(ours, pooled[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("t", "height", "width"), [(1, 1, 1), (3, 17, 40), (9, 16, 16)])
def test_any_number_and_size_of_frames(t, height, width):
    encoder = R2plus1dVideoSpec().build().eval()
    with torch.no_grad():
        features_BC = encoder(video(2, t, height, width))
    assert features_BC.shape == (2, encoder.width)
    assert torch.isfinite(features_BC).all()


def test_the_order_of_frames_matters():
    encoder = R2plus1dVideoSpec().build().eval()
    with torch.no_grad():
        change = (encoder(video()[:, [0, 2, 1, 3]]) - encoder(video())).abs().max()
    assert change > 1e-4


@pytest.mark.parametrize(
    "wrong",
    [video(channels=1), video(t=0), video(height=0), video()[0], video().permute(0, 4, 1, 2, 3)],
    ids=["gray", "no frame", "no pixel", "no batch", "channels first"],
)
def test_what_is_no_video_is_refused(wrong):
    encoder = R2plus1dVideoSpec().build()
    with pytest.raises(ValueError, match=r"expected video \[B, T, H, W, 3\] with T, H, W >= 1, got \["):
        encoder(wrong)


def test_it_is_an_encoder_of_the_two_towers():
    spec = ModelSpec.model_validate({"video": {"kind": "r2plus1d_18"}})
    assert spec.video == R2plus1dVideoSpec()
    assert spec.video.needs_color
    model = build_model(spec, seed=0)
    audio = torch.rand(2, 16000, generator=torch.Generator().manual_seed(0)) - 0.5
    z_video_BD, z_audio_BD = model(video(), audio)
    torch.testing.assert_close(z_video_BD.norm(dim=1), torch.ones(2))
    ((z_video_BD + z_audio_BD) * torch.arange(1.0, 3)[:, None]).square().sum(dim=0)[::2].sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_weights_of_another_network_are_refused(tmp_path):
    def refused(content: object) -> str:
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(InputError, match="holds no r2plus1d_18 state dict") as error:
            R2plus1dVideoSpec(weights=tmp_path / "other.pth").build()
        return str(error.value)

    # r3d_18 has the same blocks and names, and other kernels.
    assert "stem.0.weight has shape [64, 3, 3, 7, 7], expected [45, 3, 1, 7, 7]" in refused(r3d_18().state_dict())
    assert "stem.0.weight is missing" in refused([torch.zeros(1)])
    more = {**r2plus1d_18().state_dict(), "layer5.weight": torch.zeros(1)}
    assert "layer5.weight belongs to another network" in refused(more)


def test_weights_without_counters_of_batches_are_those_of_older_files(net, tmp_path):
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    encoder = R2plus1dVideoSpec(weights=tmp_path / "old.pth", norm="batch").build()
    assert isinstance(encoder.clips.fc, nn.Identity)
    assert torch.equal(encoder.clips.layer4[1].conv2[1].running_var, net.layer4[1].conv2[1].running_var)


def test_a_missing_and_a_broken_file_of_weights_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="is no file"):
        R2plus1dVideoSpec(weights=tmp_path / "missing.pth").build()
    for content in (b"", b"not weights", b"PK\x03\x04 cut off"):
        (tmp_path / "broken.pth").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            R2plus1dVideoSpec(weights=tmp_path / "broken.pth").build()
