"""ReportSpec: what a reader of the report may want otherwise."""

from pydantic import Field

from mmcsal.contracts.spec import Spec


class ReportSpec(Spec):
    """Parameters of the report. The bounds keep the one HTML file small enough to send by mail."""

    title: str = "What to label first"
    num_contact_clips: int = Field(default=24, ge=0, le=96)  # first picks shown with their frames and sound
    num_table_picks: int = Field(default=50, ge=1, le=1000)  # first picks listed with their reasons
    num_frames_per_clip: int = Field(default=4, ge=1, le=8)  # of each clip on the contact sheet
    num_map_points: int = Field(default=5000, ge=10, le=50_000)  # of the pool, and at most as many picks, on the map
