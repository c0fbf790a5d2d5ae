"""What a command finds in a run directory, and what it makes of it."""

from pathlib import Path

import pyarrow as pa
import pytest

from mmcsal.config import RunConfig, load_config
from mmcsal.contracts.errors import InputError
from mmcsal.distributed.run.plan import plan
from mmcsal.distributed.run.stages import BESIDE, PIPELINE, Stage
from mmcsal.storage.rundir import RunDir

NAMES = [stage.name for stage in PIPELINE]
EVALUATE = BESIDE[0]


@pytest.fixture
def config(tmp_path) -> RunConfig:
    return load_config(None, [f"run_dir={tmp_path / 'run'}", f"corpus={tmp_path}"])


@pytest.fixture
def run_dir(config) -> RunDir:
    """Of a run that is complete."""
    run_dir, upstream = RunDir(config.run_dir), ""
    for stage in PIPELINE:
        settings = {**stage.settings(config), "upstream": upstream}
        begun(run_dir, stage, settings)
        run_dir.commit(stage.folder, {"settings": settings, "digest": stage.name})
        upstream = stage.name
    return RunDir(config.run_dir)


def begun(run_dir: RunDir, stage: Stage, settings: dict) -> None:
    run_dir.begin(stage.folder, settings, stage.facts.side_folders)
    for folder in (stage.folder, *stage.facts.side_folders):
        for part in ("part-00000.parquet", "part-00001.parquet"):
            run_dir.write_part(folder, part, pa.table({"a": [1]}))


def actions(config: RunConfig, names=NAMES, redo: str | None = None) -> dict[str, str]:
    return {step.stage.name: step.action for step in plan(config, RunDir(config.run_dir), names, redo)}


@pytest.mark.parametrize("folder", ["clips", "rejects", "embeddings", "metrics"])
def test_a_part_that_is_gone_is_told_with_the_stage_to_redo(config, run_dir, folder):
    assert set(actions(config).values()) == {"committed"}
    run_dir.delete_file(folder, "part-00001.parquet")
    stage = {"clips": "ingest", "rejects": "ingest", "embeddings": "embed", "metrics": "pretrain"}[folder]
    for names in (NAMES, ["select"]):
        with pytest.raises(InputError, match=rf"{folder}.* holds 1 files of .* and 2 files of .*--redo {stage}`"):
            actions(config, names)
    assert actions(config, redo=stage)[stage] == "redo"


def test_a_selection_whose_part_is_another_is_made_again(config, run_dir):
    run_dir.write_part("selection", "part-00000.parquet", pa.table({"a": list(range(99))}))
    assert actions(config) == {**dict.fromkeys(NAMES, "committed"), "select": "redo", "report": "redo"}


def test_a_stage_that_was_killed_goes_on_although_an_older_one_is_there(config, run_dir):
    other = config.model_copy(update={"seed": 5})
    (embed,) = (stage for stage in PIPELINE if stage.name == "pretrain")
    begun(RunDir(config.run_dir), embed, {**embed.settings(other), "upstream": "ingest"})
    assert actions(other, ["pretrain"]) == {"pretrain": "resume"}
    assert actions(config, ["pretrain"]) == {"pretrain": "committed"}, "what was there before is there still"


def test_an_attempt_that_has_kept_nothing_is_in_nobodys_way(config, run_dir):
    other = config.model_copy(update={"seed": 5, "evaluate": config.evaluate.model_copy(update={"probe_c": 2.0})})
    run_dir.begin(EVALUATE.folder, {**EVALUATE.settings(other), "upstream": "embed"})
    assert actions(config, ["evaluate"]) == {"evaluate": "run"}
    run_dir.write_part(EVALUATE.folder, "trial.parquet", pa.table({"a": [1]}))
    with pytest.raises(InputError, match="holds an unfinished evaluate of other settings"):
        actions(config, ["evaluate"])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"settings": 3}', b'{"contents": {"clips": 1}}'])
def test_a_marker_that_nobody_wrote_is_told(config, run_dir, content):
    marker = Path(run_dir.path("clips", "_COMMITTED.json"))
    marker.write_bytes(content)
    with pytest.raises(InputError, match=r"_COMMITTED\.json is not what mmcsal has written"):
        actions(config)
