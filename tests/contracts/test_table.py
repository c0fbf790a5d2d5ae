import pyarrow as pa
import pytest

from mmcsal.contracts.errors import TableError
from mmcsal.contracts.table import check_unique_ids, conform

SCHEMA = pa.schema([pa.field("sample_id", pa.string(), nullable=False), pa.field("cost", pa.float64())])


def test_columns_are_put_in_order_and_nullable_ones_filled():
    table = conform(pa.table({"cost": [1, 2], "sample_id": ["a", "b"]}), SCHEMA, name="t")
    assert table.schema == SCHEMA
    assert conform(pa.table({"sample_id": ["a"]}), SCHEMA, name="t")["cost"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"cost": [1.0]}, "'sample_id' is missing"),
        ({"sample_id": ["a"], "price": [1.0]}, r"unknown columns \['price'\]"),
        ({"sample_id": ["a", None, "c"]}, "1 nulls of 3 rows, first in row 1"),
        ({"sample_id": ["a"], "cost": ["much"]}, "'cost' is string, expected double"),
    ],
)
def test_a_table_that_breaks_its_contract_names_the_column(columns, message):
    with pytest.raises(TableError, match=message) as error:
        conform(pa.table(columns), SCHEMA, name="runs/x/t")
    assert str(error.value).startswith("runs/x/t: ")


def test_repeated_ids_are_named():
    with pytest.raises(TableError, match=r"2 sample_ids .* \['a', 'b'\]"):
        check_unique_ids(pa.chunked_array([["a", "b"], ["c", "a", "b"]]), name="t")
    check_unique_ids(pa.chunked_array([["a"], ["b"]]), name="t")
