"""How a script ends: one line on a bad input."""

import pytest

from catid2.artifacts import InputError
from catid2.command import entry_point


def test_entry_point_prints_one_line_and_exits_with_1(capsys):
    @entry_point
    def main():
        raise InputError("file", "what\nis wrong", "mend it")

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: file: what is wrong; mend it\n"
