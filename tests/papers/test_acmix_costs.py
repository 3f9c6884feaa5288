"""Table 1 by counting: the published formulas, the crossover, and what the shifts alone would cost."""

import pytest

from pyhybrid.papers.acmix import costs


@pytest.mark.parametrize("C", [64, 128, 256, 512])
@pytest.mark.parametrize(("N", "k_a", "k_c"), [(4, 7, 3), (8, 5, 3), (1, 3, 5)])
def test_the_formulas_of_the_table(C, N, k_a, k_c):
    found = costs.table(C, N, k_a, k_c)
    assert found["convolution"] == (k_c**2 * C**2, k_c**2 * C)
    assert found["self-attention"] == (3 * C**2, 2 * k_a**2 * C)
    assert found["ACmix"] == (3 * C**2, (3 * k_c**2 + k_c**4 + 2 * k_a**2) * C)


@pytest.mark.parametrize(("C", "second", "share", "ratio"), [(64, 13_184, 51.8, 0.68), (128, 26_368, 34.9, 0.51), (256, 52_736, 21.2, 0.42),
                                                             (512, 105_472, 11.8, 0.38)])  # fmt: skip
def test_the_values_at_the_widths_of_a_resnet(C, second, share, ratio):
    found = costs.table(C)
    assert found["ACmix"].stage2 == second and abs(100 * found["ACmix"].share - share) < 0.06
    assert round(sum(found["ACmix"]) / sum(found["convolution"]), 2) == ratio


def test_p20_projections_outweigh_attention_from_33_channels_on():
    cheaper = [C for C in range(4, 64, 4) if (cost := costs.table(C)["self-attention"]).stage1 < cost.stage2]
    assert max(cheaper) == 32, "2 k_a²/3 = 32.7"


def test_the_text_has_a_line_per_width():
    text = costs.table_text((64, 512))
    assert text.count("\n") == 2 and "36,864" in text and "ACmix / convolution 0.38" in text
