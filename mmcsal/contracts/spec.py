"""The base of every configuration object."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Parameters of one thing (a loss, a dataset, a stage): immutable, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
