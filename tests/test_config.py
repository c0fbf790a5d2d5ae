import os
from pathlib import Path

import pytest
import yaml

from mmcsal.config import RunConfig, load_config, to_yaml
from mmcsal.config_source import read_content
from mmcsal.contracts.errors import InputError

DEFAULTS = Path(__file__).parents[1] / "ray_config.yaml"


def refused(*overrides: str, path: str | None = None) -> str:
    with pytest.raises(InputError) as error:
        load_config(path, overrides)
    assert "\n" not in str(error.value), "one line"
    return str(error.value)


def leaves(content: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in content.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def test_the_file_of_defaults_is_complete_and_true():
    written = yaml.safe_load(DEFAULTS.read_text())
    assert leaves(written) == leaves(RunConfig().model_dump(mode="json"))


def test_the_file_of_defaults_loads():
    assert load_config(str(DEFAULTS)) == RunConfig()


def test_overrides_win_over_the_file(tmp_path):
    (tmp_path / "c.yaml").write_text("pretrain: {epochs: 3, batch_size: 8}\n")
    config = load_config(str(tmp_path / "c.yaml"), ["pretrain.epochs=7"])
    assert (config.pretrain.epochs, config.pretrain.batch_size) == (7, 8)


def test_of_several_files_the_later_one_wins_key_by_key(tmp_path):
    below, above = str(tmp_path / "below.yaml"), str(tmp_path / "above.yaml")
    Path(below).write_text(
        "select: {budget: 7, lambda_align: 0.1, strategy: {kind: mmcsal, max_swap_passes: 3}}\nseed: 4"
    )
    Path(above).write_text("select: {lambda_align: 0.9, strategy: {max_cell_size: 99}}\n")
    config = load_config([below, above], ["select.lambda_div=0.2"])
    assert (config.seed, config.select.budget, config.select.lambda_align, config.select.lambda_div) == (4, 7, 0.9, 0.2)
    assert config.select.strategy.model_dump(exclude={"max_rows_per_pick"}) == {
        "kind": "mmcsal", "max_swap_passes": 3, "max_cell_size": 99
    }  # fmt: skip
    Path(above).write_text("select: {strategy: {kind: random}}\n")
    assert load_config([below, above]).select.strategy.kind == "random"
    Path(above).write_text("select: {lambda_algin: 0.9}\n")
    with pytest.raises(InputError, match=r"below\.yaml, .*above\.yaml: .*did you mean 'select.lambda_align'"):
        load_config([below, above])


def test_a_resolved_config_loads_to_itself(tmp_path):
    config = load_config(None, ["corpus=/videos", "select.budget=0.1", "pretrain.objective.preset=paper", "seed=3"])
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert load_config(str(tmp_path / "c.yaml")) == config


def test_the_configuration_of_a_run_says_neither_where_to_write_nor_which_cluster_to_join(tmp_path):
    (tmp_path / "c.yaml").write_text("{run_dir: /elsewhere, cluster: {address: evil:6379, num_cpus: 3}, seed: 4}")
    content = read_content([str(tmp_path / "c.yaml")], ["seed=5"], of_run=True)
    assert content == {"cluster": {"num_cpus": 3}, "seed": 5}
    assert (
        read_content([str(tmp_path / "c.yaml")], ["cluster.address=mine:1"], of_run=True)["cluster"]["address"]
        == "mine:1"
    )


def test_values_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        RunConfig().seed = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("select.lamda_align", "select.lambda_align"),
        ("pretrain.epoch", "pretrain.epochs"),
        ("epochs", "finetune.epochs' or 'pretrain.epochs"),
        ("pretrain.objective.proto.num_prototype", "pretrain.objective.proto.num_prototypes"),
        ("model.audio.log_mel.num_mels", "model.audio.log_mel.num_mel_bins"),
        ("medai.window_s", "media.window_s"),
    ],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(key, meant):
    message = refused(f"{key}=1")
    if key == "medai.window_s":
        assert "unknown key 'medai'" in message
        assert "media" in message
    else:
        assert f"unknown key {key!r}; did you mean '{meant}'?" in message


def test_an_unknown_key_of_a_corpus_is_told_by_its_own_name():
    assert "unknown key 'corpus.paht'; did you mean 'corpus.path'?" in refused("corpus={kind: folder, paht: /x}")


def test_all_that_is_wrong_is_told_at_once():
    message = refused("seed=-1", "media.window_s=no", "nonsense.key=1")
    assert "seed" in message
    assert "media.window_s" in message
    assert "nonsense" in message


@pytest.mark.parametrize("override", ["epochs", "=3", "a.b"])
def test_an_override_without_key_or_value(override):
    assert "key=value" in refused(override)


def test_an_override_of_broken_yaml():
    assert "not YAML" in refused("select={budget: [")


@pytest.mark.parametrize("budget", ["0", "-3", "1.5", "-0.1", "true", "many"])
def test_an_impossible_budget(budget):
    assert "select.budget" in refused(f"select.budget={budget}")


def test_a_missing_file_and_a_broken_file(tmp_path):
    assert "no such file" in refused(path=str(tmp_path / "no.yaml")).lower()
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    assert "holds a list" in refused(path=str(tmp_path / "list.yaml"))
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    assert "not YAML" in refused(path=str(tmp_path / "broken.yaml"))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not YAML" in refused(path=str(tmp_path / "bytes.yaml"))


def test_a_pipe_is_no_configuration_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "is no regular file" in refused(path=str(tmp_path / "pipe.yaml"))


@pytest.mark.parametrize(
    ("path", "kind"), [("/videos", "folder"), ("/a/clips.csv", "manifest"), ("/a/clips.PARQUET", "manifest")]
)
def test_a_path_alone_is_a_corpus(path, kind):
    corpus = load_config(None, [f"corpus={path}"]).corpus
    assert corpus is not None
    assert (corpus.kind, corpus.path) == (kind, path)


def test_a_part_of_an_encoder_can_be_set_without_repeating_its_kind():
    config = load_config(None, ["model.audio.pooled_steps=4"])
    assert config.model.audio.kind == "tiny"
    assert config.model.video == RunConfig().model.video


def test_another_kind_of_encoder_starts_from_its_own_defaults():
    assert load_config(None, ["model.video.kind=resnet18"]).model.video.kind == "resnet18"


def test_whoever_reads_sound_follows_the_sample_rate_of_the_clips():
    content = load_config(None, ["media.sample_rate_hz=8000"]).model_dump()
    assert {k: v for k, v in leaves(content).items() if k.endswith("sample_rate_hz")} == {
        "media.sample_rate_hz": 8000,
        "model.audio.log_mel.sample_rate_hz": 8000,
        "pretrain.augment.sample_rate_hz": 8000,
        "finetune.augment.sample_rate_hz": 8000,
    }


def test_a_preset_gives_way_to_keys_that_are_given():
    objective = load_config(None, ["pretrain.objective={preset: paper, lambda_proto: 0.5}"]).pretrain.objective
    assert (objective.lambda_proto, objective.lambda_centroid) == (0.5, 0.0)
