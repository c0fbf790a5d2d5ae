import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torchvision.models import resnet18

from mmcsal.contracts.errors import InputError
from mmcsal.models import AudioEncoderSpec, ModelSpec, VideoEncoderSpec, build_model
from mmcsal.models.batch_norm import BatchNorm
from mmcsal.models.encoders.audio.log_mel import LogMelSpec, log_mel, mask_mel
from mmcsal.models.encoders.audio.resnet18 import ResnetAudioSpec
from mmcsal.models.encoders.audio.tiny import TinyAudioSpec
from mmcsal.models.encoders.resnet_trunk import resnet18_features
from mmcsal.models.encoders.video.gray import gray_bytes, to_gray
from mmcsal.models.encoders.video.resnet18 import ResnetVideoSpec
from mmcsal.models.encoders.video.tiny import TinyVideoSpec
from mmcsal.models.heads import ProjectionHead, ProjectionSpec
from mmcsal.models.two_tower import to_float

torch.set_num_threads(1)


def clips(n: int = 4, t: int = 8, px: int = 64, seconds: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (n, t, px, px, 3), generator=generator, dtype=torch.uint8)
    audio = torch.randint(-9999, 9999, (n, int(seconds * 16000)), generator=generator).to(torch.int16)
    return video, audio


@pytest.mark.parametrize(
    "spec",
    [ModelSpec(), ModelSpec(video=ResnetVideoSpec(), audio=ResnetAudioSpec(), head=ProjectionSpec(embedding_width=32))],
    ids=["tiny", "resnet18"],
)
def test_two_tower_gives_unit_rows_and_gradient_to_every_weight(spec):
    model = build_model(spec, seed=0)
    z_video_BD, z_audio_BD = model(*clips())
    assert z_video_BD.shape == z_audio_BD.shape == (4, spec.head.embedding_width)
    torch.testing.assert_close(z_video_BD.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(z_audio_BD.norm(dim=1), torch.ones(4))
    ((z_video_BD + z_audio_BD) * torch.arange(1.0, 5)[:, None]).square().sum(dim=0)[::2].sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("t", "px", "seconds"), [(4, 32, 1.0), (16, 112, 2.0), (7, 64, 10.0)])
def test_tiny_encoders_take_any_clip_shape(t, px, seconds):
    model = build_model(ModelSpec(), seed=0).eval()
    z_video_BD, z_audio_BD = model(*clips(2, t, px, seconds))
    assert torch.isfinite(z_video_BD).all()
    assert torch.isfinite(z_audio_BD).all()


def test_embedding_of_a_clip_does_not_depend_on_the_clips_beside_it():
    model = build_model(ModelSpec(), seed=0).eval()
    video, audio = clips()
    whole, alone = model(video, audio), model(video[2:3], audio[2:3])
    torch.testing.assert_close(alone[0], whole[0][2:3])
    torch.testing.assert_close(alone[1], whole[1][2:3])


def test_tiny_video_sees_motion_and_not_a_static_background():
    encoder = TinyVideoSpec().build().eval()
    video = to_float(clips()[0][:1]) * 0.5
    background = 0.4 * torch.rand(1, 1, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(encoder(video + background), encoder(video), rtol=1e-3, atol=1e-4)
    still = video[:, :1].expand(-1, 8, -1, -1, -1)
    torch.testing.assert_close(encoder(still), encoder(torch.zeros_like(still)), rtol=1e-3, atol=1e-3)
    reordered = video[:, [0, 4, 1, 5, 2, 6, 3, 7]]
    assert (encoder(reordered) - encoder(video)).abs().max() > 1e-2, "the order of frames matters"


def test_tiny_audio_ignores_loudness_and_hears_pitch():
    encoder = TinyAudioSpec().build().eval()
    time_L = torch.arange(32000) / 16000
    low, high = (
        0.4 * torch.sin(2 * torch.pi * hz * time_L)[None] + 0.02 * torch.sin(900 * time_L) for hz in (300, 2000)
    )
    change = (encoder(low) - encoder(high)).norm()
    assert (encoder(low * 0.7) - encoder(low)).norm() < 0.2 * change


def test_silence_and_black_frames_give_finite_embeddings_and_gradients():
    model = build_model(ModelSpec(), seed=0)
    z_video_BD, z_audio_BD = model(
        torch.zeros(4, 8, 64, 64, 3, dtype=torch.uint8), torch.zeros(4, 32000, dtype=torch.int16)
    )
    (z_video_BD.sum() + z_audio_BD.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_log_mel_of_a_tone_peaks_at_its_band():
    time_L = torch.arange(16000) / 16000
    for hz in (440.0, 1000.0, 3000.0):
        mel_BFT = log_mel(torch.sin(2 * torch.pi * hz * time_L)[None], LogMelSpec())
        assert mel_BFT.shape == (1, 64, 101)
        mel_edges_hz = 700 * (
            10 ** (torch.linspace(0, 2595 * torch.log10(torch.tensor(1 + 8000 / 700)), 66) / 2595) - 1
        )
        centre_hz = mel_edges_hz[1:-1][mel_BFT[0, :, 50].argmax()]
        assert centre_hz == pytest.approx(hz, rel=0.08)


def test_log_mel_of_ten_times_the_amplitude_is_higher_by_its_decibels():
    audio = 0.05 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    difference = log_mel(audio * 10) - log_mel(audio)
    torch.testing.assert_close(difference.median(), torch.log(torch.tensor(100.0)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("audio", [torch.zeros(16000), torch.zeros(1, 100), torch.zeros(1, 16000, dtype=torch.int16)])
def test_log_mel_refuses_what_is_no_waveform(audio):
    with pytest.raises(ValueError, match="expected float waveforms"):
        log_mel(audio)


def test_masks_hide_their_band_and_span_and_nothing_else():
    mel = torch.randn(2, 10, 20, generator=torch.Generator().manual_seed(0))
    # The first clip: a band of 3 of 10 that begins at the end of its room, a span of 5 of 20 from the start.
    mask = torch.tensor([[[1.0, 0.3, 0.0, 0.25]], [[0.5, 0.0, 0.5, 0.0]]])
    masked = mask_mel(mel, mask)
    hidden = torch.zeros(10, 20, dtype=torch.bool)
    hidden[7:], hidden[:, :5] = True, True
    assert torch.equal(masked[0][~hidden], mel[0][~hidden])
    torch.testing.assert_close(masked[0][hidden], mel[0].mean().expand(int(hidden.sum())))
    assert torch.equal(masked[1], mel[1]), "a width of 0 hides nothing"
    everything = mask_mel(mel, torch.tensor([[[0.3, 1.0, 0.0, 0.0]]]).expand(2, 1, 4))
    torch.testing.assert_close(everything, mel.mean(dim=(1, 2), keepdim=True).expand_as(mel))
    assert torch.equal(mask_mel(mel, torch.rand(2, 0, 4)), mel), "no masks"


def test_several_masks_hide_what_each_hides():
    mel = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[[0.0, 0.25, 0.0, 0.0], [1.0, 0.25, 0.0, 0.0]]])
    changed = (mask_mel(mel, mask) != mel)[0].any(dim=1)
    assert changed.tolist() == [True] * 4 + [False] * 8 + [True] * 4


def test_hop_beyond_window_is_refused():
    with pytest.raises(ValueError, match="sound is lost"):
        LogMelSpec(window_samples=512, hop_samples=513)


def test_batch_norm_of_one_worker_is_torch_s():
    ours, theirs = BatchNorm(5), nn.BatchNorm1d(5)
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_head_has_no_batch_norm_on_its_output():
    head = ProjectionHead(ProjectionSpec(hidden_width=8, embedding_width=4), input_width=6)
    assert [type(m) for m in head.children()] == [nn.Linear, BatchNorm, nn.Linear]


def test_to_float_scales_integers_only():
    assert to_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0, 1]
    assert to_float(torch.tensor([-32768, 16384], dtype=torch.int16)).tolist() == [-1, 0.5]
    assert to_float(torch.tensor([0.25])).tolist() == [0.25]


def test_gray_of_bytes_and_of_floats_agree():
    video = clips(2, 3, 8)[0]
    gray = to_float(torch.from_numpy(gray_bytes(video.numpy())))
    torch.testing.assert_close(gray, to_gray(to_float(video)), rtol=0, atol=0.51 / 255)
    assert to_gray(gray) is gray


def test_encoders_are_chosen_by_kind():
    assert TypeAdapter(VideoEncoderSpec).validate_python({"kind": "resnet18"}) == ResnetVideoSpec()
    assert TypeAdapter(AudioEncoderSpec).validate_python({"kind": "tiny"}) == TinyAudioSpec()
    with pytest.raises(ValueError, match="'tiny', 'resnet18'"):
        TypeAdapter(VideoEncoderSpec).validate_python({"kind": "vit"})


def test_resnet_weights_from_a_file(tmp_path):
    source = resnet18(weights=None)
    path = tmp_path / "resnet18.pth"
    torch.save(source.state_dict(), path)
    source.fc = nn.Identity()
    image = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = source.eval()(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(resnet18_features(3, path, "frozen").eval()(image.expand(-1, 3, -1, -1)), expected)
    torch.testing.assert_close(resnet18_features(1, path, "frozen").eval()(image), expected, rtol=1e-3, atol=1e-4)


def test_resnet_weights_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        resnet18_features(3, tmp_path / "missing.pth", "frozen")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="no resnet18"):
        resnet18_features(3, tmp_path / "other.pth", "frozen")


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first, second = build_model(ModelSpec(), seed=0), build_model(ModelSpec(), seed=0)
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
