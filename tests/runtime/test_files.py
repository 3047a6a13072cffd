import os

import pytest

from lnln_jax.runtime.files import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"photo 1.png", "photo 1.png"),
        ("Äpfel 写真\u3000.png".encode(), "Äpfel 写真\u3000.png"),
        (b"caf\xe9.png", r"caf\xe9.png"),
        (b"a\nb\tc\x1b[31m", r"a\nb\tc\x1b[31m"),
        ("a\u2028b".encode(), r"a\u2028b"),
    ],
)
def test_a_name_as_text(tmp_path, name, shown):
    text = printable(os.fsdecode(name))
    assert text == shown
    assert text.encode()
    assert printable(tmp_path / os.fsdecode(name)) == f"{tmp_path}{os.sep}{shown}"


def test_a_surrogate_that_is_no_byte():
    assert printable("\ud800") == r"\ud800"
