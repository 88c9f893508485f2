import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.report.drawing import (
    FADE,
    LOWEST_SHOWN,
    OPACITY,
    OUTLINE,
    OUTLINE_EDGE,
    centres,
    colour_map,
    decode_picture,
    encode_picture,
    grey_levels,
    heat_over,
    outline_over,
    outline_width,
    shrink,
    shrunk_shape,
)
from mcads_node.report.page import Page, largest_size, text_width, wrap

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


def test_each_pixel_is_blended_by_itself() -> None:
    rng = np.random.default_rng(4)
    grey = rng.integers(0, 256, (31, 17), dtype=np.uint8)
    activation = rng.uniform(-0.1, 1.1, (31, 17)).astype(np.float32)
    picture = heat_over(grey, activation).astype(float)
    level = (activation.clip(0, 1) * np.float32(255)).astype(int)
    fade = ((level / 255 - LOWEST_SHOWN) / FADE).clip(0, 1)[..., None]
    alpha = OPACITY * fade * fade * (3 - 2 * fade)
    expected = alpha * colour_map()[level] + (1 - alpha) * grey[..., None]
    assert np.abs(picture - expected).max() <= 0.5 + 1e-9


def test_an_outline_is_crisp_and_seen_on_any_grey() -> None:
    for grey in (0, 120, 255):
        plain = np.full((200, 300, 3), grey, np.uint8)
        square = np.array([[50, 40], [250, 40], [250, 150], [50, 150], [50, 40]], np.float32)
        drawn = outline_over(plain, [square])
        assert np.all(plain == grey), "the picture itself is not touched"
        colours = {tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}
        assert colours <= {OUTLINE, OUTLINE_EDGE, (grey, grey, grey)}, "no shades between"
        assert tuple(drawn[40, 150]) == tuple(drawn[100, 250]) == OUTLINE
        assert np.all(drawn[60:130, 70:230] == grey), "nothing is filled"
        # the line against the ground, or against its own edge
        seen = luminance(np.array([OUTLINE, OUTLINE_EDGE, (grey, grey, grey)], float))
        assert max(contrast(seen[0], seen[1]), contrast(seen[0], seen[2])) > 10
    assert outline_over(plain, []).tolist() == plain.tolist()


@pytest.mark.parametrize(("side", "pixels"), [(100, 2), (900, 2), (2500, 6), (4280, 10)])
def test_an_outline_is_as_wide_as_the_picture_needs(side: int, pixels: int) -> None:
    assert outline_width(side) == pixels


def contrast(one: float, other: float) -> float:
    """WCAG 2.1's contrast ratio."""
    return float((max(one, other) + 0.05) / (min(one, other) + 0.05))


def test_no_activation_is_grey() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(heat_over(grey, None), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [((2500, 2048), 512, (512, 419)), ((100, 200), 512, (100, 200)), ((3, 3000), 512, (1, 512))],
)
def test_shrunk_shape(shape: tuple[int, int], side: int, expected: tuple[int, int]) -> None:
    assert shrunk_shape(shape, side) == expected


def test_shrink_and_centres_keep_places() -> None:
    grey = np.zeros((40, 60), np.uint8)
    grey[10:20, 30:44] = 200
    small = shrink(grey, (20, 30))
    assert np.array_equal(small > 100, grey[::2, ::2] > 100)
    activation = grey.astype(np.float32)
    assert np.array_equal(
        activation[np.ix_(centres(20, activation.shape[0]), centres(30, activation.shape[1]))] > 100,
        small > 100,
    )


def test_png_round_trip() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(decode_picture(encode_picture(picture))), picture)
    assert encode_picture(picture) == encode_picture(picture.copy())


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
    first = page.written[0]
    assert (first.size, first.corners[:2], first.corners[3]) == (20, (10, 0), bottom)
    written = page.pixels()[:bottom, :211]
    assert int(written.max()) > 200
    assert np.all(page.pixels()[:bottom, 211:] == page.pixels()[0, 299])


def test_whole_pixels_are_put_together_where_that_is_near_enough() -> None:
    assert shrunk_shape((2500, 2048), 1280) == (1250, 1024)
    assert shrunk_shape((3000, 2400), 1280) == (1000, 800)
    # it would be half of what there is room for, or not a whole number
    assert shrunk_shape((1500, 1200), 1280) == (1280, 1024)
    assert shrunk_shape((2501, 2048), 1280) == (1280, 1048)
    assert shrunk_shape((900, 700), 1280) == (900, 700)
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4) * 4
    assert shrink(grey, (2, 2)).tolist() == [[10, 18], [42, 50]]
