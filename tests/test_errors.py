"""What is common to all errors."""

from __future__ import annotations

import pytest

from holdall.errors import CannotWrite, one_error


def test_of_several_errors_at_once_the_one_is_raised_that_a_caller_can_act_upon() -> None:
    full = CannotWrite("can't write x: no space left")
    with pytest.raises(CannotWrite), one_error():
        raise ExceptionGroup("two", [ValueError("a"), ExceptionGroup("inner", [full])])
    with pytest.raises(OSError, match="no space"), one_error():
        raise ExceptionGroup("one", [OSError("no space")])
