"""The table of stages that run, and the one of what they are called and fill: the same stages in the same order."""

import pytest

from mmcsal.config import RunConfig
from mmcsal.contracts import stages
from mmcsal.distributed.run.stages import BESIDE, PIPELINE, ray_stages
from mmcsal.report.stages import REPORTED


def test_every_stage_that_is_known_runs_and_the_other_way_round():
    assert tuple(stage.facts for stage in PIPELINE) == stages.PIPELINE
    assert tuple(stage.facts for stage in BESIDE) == stages.BESIDE


def test_names_and_folders_are_given_once():
    names = [stage.name for stage in stages.ALL_STAGES]
    assert len(set(names)) == len(names)
    assert len(set(stages.FOLDERS)) == len(stages.FOLDERS)
    assert {stage.after for stage in stages.BESIDE} <= set(stages.STAGE_NAMES)


def test_the_report_tells_of_every_stage_before_it():
    assert [stage.name for stage in REPORTED] == list(stages.STAGE_NAMES[: stages.STAGE_NAMES.index("report")])


def test_what_runs_without_ray_asks_for_nothing():
    assert ray_stages(["manifest", "ingest", "select", "report", "tune"]) == ["ingest", "select", "tune"]


@pytest.mark.parametrize("stage", [*PIPELINE, *BESIDE], ids=lambda stage: stage.name)
def test_the_result_depends_on_the_part_of_the_configuration_that_has_the_name_of_the_stage(stage):
    own = {"manifest": "corpus", "ingest": "media"}.get(stage.name, stage.name)
    assert own in stage.settings(RunConfig())
