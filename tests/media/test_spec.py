import importlib.util

import pytest
from pydantic import ValidationError

from mmcsal.media.spec import MediaSpec


def test_a_backend_that_is_not_installed_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install 'mmcsal\[torchcodec\]'"):
        MediaSpec(backend="torchcodec")
    assert MediaSpec(backend="auto").backend == "auto"
