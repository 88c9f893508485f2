import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.report.drawing import (
    LOWEST_SHOWN,
    Page,
    colour_map,
    decode_png,
    encode_png,
    grey_levels,
    heat_over,
    largest_size,
    sample,
    shrink,
    shrunk_shape,
    text_width,
    wrap,
)

WEIGHTS = np.array([0.2126, 0.7152, 0.0722])


def luminance(colours: np.ndarray) -> np.ndarray:
    linear = np.asarray(((colours / 255 + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ WEIGHTS)


def test_the_colour_map_rises_in_luminance() -> None:
    shown = luminance(colour_map()[int(np.ceil(LOWEST_SHOWN * 255)) :].astype(float))
    assert np.all(np.diff(shown) >= -1e-4)
    assert np.all(np.diff(shown[::8]) > 0)
    assert shown[-1] > 0.8


def test_the_legend_is_the_colour_map() -> None:
    page = Page(200, 20)
    page.legend((10, 5, 190, 15))
    bar = page.pixels()[5:15, 10:190].astype(float)
    assert np.all(bar == bar[:1])
    assert np.all(np.diff(luminance(bar[0])) >= -1e-4)
    assert bar[0, -1].tolist() == colour_map()[255].tolist()
    assert np.all(page.pixels()[:5] == page.pixels()[0, 0])


def test_grey_levels() -> None:
    pixels = np.array([[-2000, -1024, -1016, 0, 1016, 1024, 3000]], dtype=np.float32)
    assert grey_levels(pixels).tolist() == [[0, 0, 1, 128, 254, 255, 255]]
    assert pixels[0, 0] == -2000, "the radiograph's own pixels are not touched"


@given(st.integers(0, 255), st.floats(0, 1, width=32))
def test_low_activation_leaves_grey(grey: int, activation: float) -> None:
    picture = heat_over(np.full((2, 3), grey, np.uint8), np.full((2, 3), activation, np.float32))
    if activation < LOWEST_SHOWN:
        assert np.all(picture == grey)
    else:
        # never opaque: at least the complement of the greatest opacity is the grey below
        assert np.all(picture >= int(0.44 * grey))
    if activation > 0.6:
        assert len(set(picture[0, 0].tolist())) > 1


def test_no_activation_is_grey() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(heat_over(grey, None), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [((2500, 2048), 512, (512, 419)), ((100, 200), 512, (100, 200)), ((3, 3000), 512, (1, 512))],
)
def test_shrunk_shape(shape: tuple[int, int], side: int, expected: tuple[int, int]) -> None:
    assert shrunk_shape(shape, side) == expected


def test_shrink_and_sample_keep_places() -> None:
    grey = np.zeros((40, 60), np.uint8)
    grey[10:20, 30:44] = 200
    small = shrink(grey, (20, 30))
    assert np.array_equal(small > 100, grey[::2, ::2] > 100)
    activation = grey.astype(np.float32)
    assert np.array_equal(sample(activation, (20, 30)) > 100, small > 100)


def test_png_round_trip() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(decode_png(encode_png(picture))), picture)
    assert encode_png(picture) == encode_png(picture.copy())


@given(st.text("abc xyžėλЖ-—", max_size=60), st.integers(40, 400))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = wrap(text, 16, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(text_width(line, 16) <= width for line in lines)


@pytest.mark.parametrize("text", ["Žukauskaitė Įšūčę", "Ö ß ñ", "— · … × ≥", "Привет"])
def test_the_font_has_the_glyphs(text: str) -> None:
    # a missing glyph is a box: all missing ones are as wide as U+10FFFF, and equal in their pixels
    def drawn(letter: str) -> bytes:
        page = Page(60, 40)
        page.word((5, 20), letter, 24, anchor="lm")
        return page.pixels().tobytes()

    box = drawn("\U0010fffe")
    assert all(drawn(letter) != box for letter in text if letter != " ")


def test_largest_size() -> None:
    assert largest_size("short", 500, (50, 40)) == 50
    assert largest_size("a much longer headline than fits", 500, (50, 40, 12)) == 12
    assert largest_size("never" * 50, 100, (50, 40)) == 40


def test_a_page_grows_and_remembers() -> None:
    page = Page(300)
    bottom = page.text((10, 0), "some words that need more than a line of this width", 20, 200)
    page.word((10, bottom + 20), "one", 20, anchor="lm")
    assert page.height >= bottom + 20
    assert page.texts == ["some words that need more than a line of this width", "one"]
    written = page.pixels()[:bottom, :211]
    assert int(written.max()) > 200
    assert np.all(page.pixels()[:bottom, 211:] == page.pixels()[0, 299])
