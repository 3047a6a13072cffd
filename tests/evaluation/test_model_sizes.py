"""Table 2: its figures are measured, and the paper's stand beside them."""

import pytest

from lnln_jax.cli import main
from lnln_jax.evaluation.model_sizes import ModelRow, disagreement, format_models, measure

ROWS = [
    ModelRow(
        "edsr",
        40_729_603,
        163_000_000,
        163_100_000,
        {"convolution": 9, "attention": 0},
        {"activations": 1_234_560_000, "convolutions": 69},
        136,
    ),
    ModelRow(
        "lnln",
        2_039_889,
        8_400_000,
        8_500_000,
        {"convolution": 427_400_000_000, "attention": 1_699_200_000_000},
        {"activations": 9, "convolutions": 7},
        None,
    ),
]


def test_a_row_is_measured():
    row = measure("vdsr", 3)
    assert (row.name, row.parameters, row.receptive_field) == ("vdsr", 664_704, 18)
    assert row.multiply_adds == {"convolution": 664_704 * 1278 * 720, "attention": 0}
    weights = 4 * row.parameters
    assert weights < row.safetensors < weights + 5000  # and a header
    assert weights < row.state_dict < weights + 20_000
    # 20 convolutions of 64 features, but the last, of the interpolated image.
    assert row.activations == {"activations": (19 * 64 + 1) * 768**2, "convolutions": 20}


@pytest.mark.slow
def test_the_table():
    lines = format_models(ROWS, 2).splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert len({len(row) for row in table}) == 1
    assert len({len(line) for line in lines[:4]}) == 1
    lnln, edsr = (dict(zip(table[0], row, strict=True)) for row in table[2:])
    assert edsr["parameters (M)"] == "40.730"
    assert table[3][2] == "41.3"  # published
    assert edsr["activations (M)"] == "1234.6"
    assert edsr["convolutions"] == "69"
    assert edsr["receptive field"] == "136x136"
    assert edsr["of them attention"] == ""
    assert lnln["multiply-adds (G)"] == "2126.6"
    assert lnln["of them attention"] == "1699.2"
    assert lnln["receptive field"] == "global"
    assert lnln["PyTorch (MiB)"] == "8.11"
    assert lnln["paper (MB)"] == "8.72"
    notes = "\n".join(lines[4:])
    assert "1280x720" in notes
    assert "256x256" in notes
    assert "EDSR: the paper prints 41.3 M" in notes
    assert "LNLN: " not in notes


def test_published_activations_stand_beside():
    counts = {"activations": 80_046_336, "convolutions": 39}
    row = ModelRow("rlfn_ntire", 317_218, 1, 1, {"convolution": 17, "attention": 0}, counts, 154)
    line = format_models([row], 4).splitlines()[2]
    assert [cell.strip() for cell in line.strip("|").split("|")][-6:] == [
        *("17.3", "80.0", "80.05", "39", "39", "154x154")
    ]


@pytest.mark.parametrize("name", ["vdsr", "drca", "lnln", "edsr_baseline"])
@pytest.mark.slow
def test_where_the_paper_agrees_or_says_nothing(name):
    assert disagreement(name) is None


@pytest.mark.parametrize(
    ("name", "parameters", "storage"),
    [("edsr", "41.3 M", "10.8 MB"), ("rcan", "15.8 M", "34.9 MB")],
)
def test_where_the_paper_disagrees_with_the_authors_code(name, parameters, storage):
    text = disagreement(name)
    assert text.startswith(f"{name.upper()}: the paper prints {parameters} parameters")
    assert storage in text


def test_the_command(capsys):
    assert main(["models", "vdsr", "--scale", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| network, x4")
    assert [line.split()[1] for line in lines[2:] if line.startswith("| ")] == ["vdsr"]
    assert main(["models", "vdsm"]) == 1
    assert "there is no network 'vdsm'; there are" in capsys.readouterr().err
