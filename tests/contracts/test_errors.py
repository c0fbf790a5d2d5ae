"""What a message becomes on its way to the reader."""

from mmcsal.contracts.errors import InputError


def test_a_message_without_end_keeps_what_was_wrong_and_what_to_do():
    said = str(InputError(f"labels: no column 'label'; found {['c' * 50] * 20_000}; rename one"))
    assert len(said) < 2100
    assert said.startswith("labels: no column 'label'; found ['ccc")
    assert said.endswith("ccc']; rename one")
    assert " [...] " in said


def test_a_secret_that_the_cut_would_go_through_is_not_told():
    """It is taken out before the message is cut: what is left of an URL is none that anyone would know."""
    for place in range(1380, 1520, 7):
        said = str(InputError("x" * place + " s3://KEY:hunter2@bucket/clips " + "y" * 3000))
        assert "hunter" not in said
