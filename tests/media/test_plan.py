import pytest

from benchmarks.spelled.cases import Case, make
from mmcsal.media.picture import Picture
from mmcsal.media.plan import make_plan
from mmcsal.media.spec import MediaSpec
from tests.films import needs_ffmpeg

pytestmark = needs_ffmpeg
SPEC = MediaSpec()


def plan_of(path):
    with Picture(str(path), SPEC) as picture:
        return make_plan(picture, None, SPEC)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_the_last_of_some_slides_stays_for_as_long_as_there_is_sound(ending, films, tmp_path):
    slides = '-i {slow} -vf "select=eq(n\\,0)+eq(n\\,10)" -vsync vfr -c:v libx264 -pix_fmt yuv420p -c:a aac {out}'
    plan = plan_of(make(Case(f"slides.{ending}", "", (slides,)), films, tmp_path))
    assert plan.end_s == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_a_film_ends_with_its_picture(ending, films, tmp_path):
    shorter = "-t 2 -i {slow} -i {slow} -map 0:v -map 1:a -c:v libx264 -pix_fmt yuv420p -c:a aac {out}"
    plan = plan_of(make(Case(f"shorter.{ending}", "", (shorter,)), films, tmp_path))
    assert plan.end_s - plan.begin_s == pytest.approx(2.0, abs=0.6)
