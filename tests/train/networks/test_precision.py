import keras
import pytest

from train.networks.precision import choose_precision, in_policy
from train.recipes import PRECISIONS


def test_a_named_precision_is_kept_and_auto_is_one_that_keras_knows():
    assert choose_precision("mixed_float16") == "mixed_float16"
    assert choose_precision("auto") in PRECISIONS[1:]


def test_a_policy_holds_inside_alone_also_where_that_fails():
    before = keras.config.dtype_policy().name
    with in_policy("mixed_bfloat16"):
        layer = keras.layers.Dense(2)
    assert layer.compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == before
    with pytest.raises(OSError, match="inside"), in_policy("mixed_float16"):
        raise OSError("inside")
    assert keras.config.dtype_policy().name == before
