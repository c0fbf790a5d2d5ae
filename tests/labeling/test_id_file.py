"""Lists of ids as people write them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.labeling.id_file import read_ids


def test_ids_of_text_csv_and_parquet_keep_their_order_and_their_zeros(tmp_path):
    (tmp_path / "ids.txt").write_text("\ufeff007\n\n b \n", encoding="utf-8")
    (tmp_path / "ids.csv").write_text("note,sample_id\nx,007\ny,b\n")
    pq.write_table(pa.table({"sample_id": ["007", "b"]}), tmp_path / "ids.parquet")
    for suffix in ("txt", "csv", "parquet"):
        assert read_ids(str(tmp_path / f"ids.{suffix}"), key="select.include") == ("007", "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id\na\n", r"select.exclude: .*no column 'sample_id'; found \['id'\]; rename"),
        ("sample_id,x\na,1\nb\n", "select.exclude: .*cannot be read.*give a .txt"),
    ],
)
def test_what_is_wrong_names_the_key_and_the_file(tmp_path, content, message):
    (tmp_path / "ids.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_ids(str(tmp_path / "ids.csv"), key="select.exclude")
    with pytest.raises(InputError, match=r"absent\.csv"):
        read_ids(str(tmp_path / "absent.csv"), key="select.exclude")
